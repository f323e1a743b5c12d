"""One round, written once: choose, train, forge, sanitize, aggregate, step, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedsim.config import ServerSection
from fedsim.domain import Aggregator, Layout, Measure, Round, ServerState, Uploads
from fedsim.engine.forging import Carrier, Forger
from fedsim.engine.measures import measure
from fedsim.lazy import torch
from fedsim.seeds import stream
from fedsim.server import observe, settle

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class World:
    """Everything a round needs that does not change from round to round.

    Fields:
        seed: every draw of the run follows from it.
        clients, chosen: how many there are, and how many take part in a round.
        evaluate: figures of a global model (size,) on the test set, by name.
        evaluated: whether a round's model is tested.
        root: the server's own update (size,) from a global model (size,) in a round; None where the rule wants none.
        moving_rate: how far each client moves from its own model to the server's before it trains.
    """

    seed: int
    clients: int
    chosen: int
    layout: Layout
    carrier: Carrier
    forger: Forger
    rule: Aggregator
    server: ServerSection
    evaluate: Callable[[Tensor], Mapping[str, Measure]]
    evaluated: Callable[[int], bool]
    root: Callable[[Tensor, int], Tensor] | None = None
    moving_rate: float = 1.0

    def start(self, params: Tensor) -> ServerState:
        """The state before the first round, from the initial model (size,), which all clients share."""
        momentum = torch.zeros_like(params[: self.layout.weights])
        kept = None if self.moving_rate == 1 else params.repeat(self.clients, 1)
        return ServerState(0, params, self.rule.init(self.layout), momentum, kept=kept)

    def sample(self, round: int) -> list[int]:
        """The ids of the clients chosen in ``round``, ascending."""
        if self.chosen == self.clients:
            return list(range(self.clients))
        rng = stream(self.seed, "round", round, "sample")
        return sorted(int(client) for client in rng.choice(self.clients, self.chosen, replace=False))

    def starts(self, state: ServerState, clients: Sequence[int]) -> Tensor | None:
        """(n, size) where these clients begin to train; None where all of them begin at the broadcast.

        theta_i - moving_rate (theta_i - theta), of Algorithm 1 of Romoa. The server reckons it, who has seen what each
        client trained its model to; the adversary's clients go on from what they honestly would have. A client that
        attacks on its own goes on from what it said, for nobody else knows better.
        """
        if state.kept is None:
            return None
        return torch.lerp(state.kept[list(clients)], state.params, self.moving_rate)


def last_move(state: ServerState, world: World) -> Tensor | None:
    """(d,) what the last round did to the weights; None before the first."""
    if state.round == 0:
        return None
    return torch.zeros_like(state.momentum) if state.skipped else world.server.learning_rate * state.momentum


def play_round(state: ServerState, world: World) -> tuple[ServerState, Round]:
    """The state after one more round, and what is written down about it."""
    number = state.round + 1
    chosen = world.sample(number)
    honest = world.carrier.train(chosen, state.params, number, starts=world.starts(state, chosen))
    kept = _kept(state, honest)
    starts = world.starts(state, honest.clients.tolist())
    turn = world.forger.turn(honest, state.params, number, len(chosen), last_move(state, world), starts)
    memory = state.memory
    for moment in range(len(honest.lookahead)):
        seen = turn.ahead(moment, memory)
        memory = observe(memory, seen, state.params, world.rule, world.layout, world.server)
    sent = turn.sent(memory)
    root = None if world.root is None else world.root(state.params, number)
    settled = settle(state, sent, world.rule, world.layout, world.server, root, memory)
    after = replace(settled.state, kept=kept)
    tested = world.evaluate(after.params) if world.evaluated(number) else {}
    malicious = set(world.forger.adversary.clients)
    attackers = tuple(client for client in chosen if client in malicious)
    struck = turn.strikes and any(client in malicious for client in sent.clients.tolist())
    record = Round(
        number=number,
        clients=tuple(chosen),
        attackers=attackers,
        struck=struck,
        dropped=(*sent.dropped, *settled.dropped),
        skipped=settled.skipped,
        measures=measure(world.layout, honest, sent, settled.updates, attackers, struck, settled.aggregate, tested),
        figures=settled.aggregate.figures if settled.aggregate and tested else {},
        shown=tuple(settled.updates.clients.tolist()),
    )
    return after, record


def _kept(state: ServerState, honest: Uploads) -> Tensor | None:
    """(clients, size) what each client last trained its model to, where they keep it.

    One whose training came to nothing finite, which is dropped like an upload that did not come, keeps what it had: it
    would never come back from there.
    """
    if state.kept is None:
        return None
    trained = state.params + honest.rows
    finite = trained.isfinite().all(dim=1).cpu()
    kept = state.kept.clone()
    kept[honest.clients[finite]] = trained[finite]
    return kept
