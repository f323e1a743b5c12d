"""One round, written once: choose, train, forge, sanitize, aggregate, step, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from clients.adversary import Adversary
from fedsim.config import ServerSection
from fedsim.domain import (
    Aggregator,
    Dataset,
    Layout,
    Poison,
    Refused,
    Round,
    ServerState,
    Uploads,
    View,
)
from fedsim.engine.measures import measure
from fedsim.lazy import torch
from fedsim.seeds import stream
from fedsim.server import settle

if TYPE_CHECKING:
    from torch import Tensor


class Carrier(Protocol):
    """Whoever trains clients; it knows nothing of rules or attacks."""

    def train(self, clients: Sequence[int], params: Tensor, round: int, poisoned: bool = False) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked."""
        ...


@dataclass(frozen=True)
class World:
    """Everything a round needs that does not change from round to round.

    Fields:
        seed: every draw of the run follows from it.
        clients, chosen: how many there are, and how many take part in a round.
        shards: the malicious clients' samples by id, as their attack may see them.
        evaluate: test loss and accuracy of a global model (size,).
        evaluated: whether a round's model is tested.
    """

    seed: int
    clients: int
    chosen: int
    layout: Layout
    carrier: Carrier
    adversary: Adversary
    rule: Aggregator
    server: ServerSection
    shards: Mapping[int, Dataset]
    evaluate: Callable[[Tensor], tuple[float, float]]
    evaluated: Callable[[int], bool]

    def start(self, params: Tensor) -> ServerState:
        """The state before the first round, from the initial model (size,)."""
        return ServerState(0, params, self.rule.init(self.layout), torch.zeros_like(params[: self.layout.weights]))

    def sample(self, round: int) -> list[int]:
        """The ids of the clients chosen in ``round``, ascending."""
        if self.chosen == self.clients:
            return list(range(self.clients))
        rng = stream(self.seed, "round", round, "sample")
        return sorted(int(client) for client in rng.choice(self.clients, self.chosen, replace=False))


def play_round(state: ServerState, world: World) -> tuple[ServerState, Round]:
    """The state after one more round, and what is written down about it.

    A round is skipped, and the model kept, when too few uploads are left for the rule.
    """
    number = state.round + 1
    honest = world.carrier.train(world.sample(number), state.params, number)
    sent, struck = _attacked(honest, state, world, number)
    settled = settle(state, sent, world.rule, world.layout, world.server)
    tested = world.evaluate(settled.state.params) if world.evaluated(number) else None
    attackers = tuple(client for client in honest.clients.tolist() if client in world.adversary.clients)
    record = Round(
        number=number,
        clients=tuple(honest.clients.tolist()),
        attackers=attackers,
        struck=struck,
        dropped=(*honest.dropped, *settled.dropped),
        skipped=settled.skipped,
        measures=measure(world.layout, honest, sent, settled.updates, attackers, struck, settled.aggregate, tested),
    )
    return settled.state, record


def _attacked(honest: Uploads, state: ServerState, world: World, number: int) -> tuple[Uploads, bool]:
    """The uploads with the adversary's rows replaced, and whether it struck.

    Attacks craft weights; the malicious clients' buffers stay what they honestly were. An attack that its own paper
    rules out for this round's numbers of clients does not strike in it.
    """
    adversary = world.adversary
    own = torch.tensor([client in adversary.clients for client in honest.clients.tolist()], dtype=torch.bool)
    f = int(own.sum())
    if f == 0 or not adversary.schedule.strikes(number, world.seed):
        return honest, False
    try:
        adversary.attack.require(len(own), f, adversary.knowledge)
    except Refused:
        return honest, False
    rows = honest.rows.clone()
    d = world.layout.weights
    view = _view(honest, own, state, world, number)
    rows[own, :d] = adversary.forge(view, stream(world.seed, "round", number, "attack"))
    return replace(honest, rows=rows), True


def _view(honest: Uploads, own: Tensor, state: ServerState, world: World, number: int) -> View:
    d = world.layout.weights
    adversary = world.adversary
    ids = honest.clients[own].tolist()
    poisoned = None
    if isinstance(adversary.attack, Poison):
        poisoned = world.carrier.train(ids, state.params, number, poisoned=True).rows[:, :d]
    sees_others = adversary.knowledge in ("honest", "rule")
    sees_rule = adversary.knowledge == "rule"
    return View(
        round=number,
        n=len(own),
        params=state.params[:d],
        own=honest.rows[own, :d],
        honest=honest.rows[~own, :d] if sees_others else None,
        rule=world.rule if sees_rule else None,
        memory=state.memory if sees_rule else None,
        poisoned=poisoned,
        layout=world.layout,
        data=tuple(world.shards[client] for client in ids),
    )
