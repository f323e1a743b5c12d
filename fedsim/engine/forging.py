"""The adversary's turn: its clients' rows replaced by what its attack makes of what it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from clients.adversary import Adversary
from fedsim.domain import Aggregator, Dataset, Drop, Layout, Memory, Mistake, Poison, Refused, Uploads, View
from fedsim.lazy import torch
from fedsim.seeds import stream

if TYPE_CHECKING:
    from torch import Tensor


class Carrier(Protocol):
    """Whoever trains clients; it knows nothing of rules or attacks."""

    def train(
        self,
        clients: Sequence[int],
        params: Tensor,
        round: int,
        poisoned: bool = False,
        starts: Tensor | None = None,
    ) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked.

        From ``starts`` (n, size), if given; the uploads are measured from ``params`` all the same.
        """
        ...


class Accomplices(Protocol):
    """Malicious clients that craft their uploads themselves."""

    def craft(
        self, view: View, clients: Sequence[int], *path: int | str
    ) -> tuple[Mapping[int, Tensor], tuple[Drop, ...]]:
        """What each client (those of ``view.own``) makes of the view for itself (d,); and those who made nothing.

        ``path`` names a lookahead's draws.
        """
        ...


@dataclass(frozen=True)
class Forger:
    """An adversary with what it works with.

    Fields:
        carrier: trains its clients on poisoned data, where the attack poisons any.
        shards: its clients' samples, by id.
        rule: the server's, shown to it only under knowledge "rule".
        seed: of the run.
        accomplices: its clients, where they craft; None where their rows are crafted here.
    """

    adversary: Adversary
    carrier: Carrier
    shards: Mapping[int, Dataset]
    layout: Layout
    rule: Aggregator | None
    seed: int
    accomplices: Accomplices | None = None

    def turn(
        self,
        honest: Uploads,
        params: Tensor,
        round: int,
        chosen: int,
        last: Tensor | None = None,
        starts: Tensor | None = None,
    ) -> Turn:
        """What the adversary does in a round whose ``chosen`` clients came to these uploads from ``params`` (size,).

        An attack that its own paper rules out for this round's numbers of clients does not strike in it.
        """
        own = torch.isin(honest.clients, torch.tensor(self.adversary.clients, dtype=torch.int64))
        idle = Turn(self, honest, own, params, round, chosen, last)
        f = int(own.sum())
        if f == 0 or not self.adversary.schedule.strikes(round, self.seed):
            return idle
        # Honest clients whose uploads did not come are not there to be seen.
        n = chosen if self.adversary.knowledge == "own" else len(honest.clients)
        try:
            self.adversary.attack.require(n, f, self.adversary.knowledge)
        except Refused:
            return idle
        if not isinstance(self.adversary.attack, Poison):
            return replace(idle, strikes=True)
        ids = honest.clients[own].tolist()
        poisoned = self.carrier.train(ids, params, round, True, None if starts is None else starts[own])
        # One whose poisoned work is not had keeps all from striking: they go by what all of them have.
        reached = poisoned.clients.tolist() == ids and len(poisoned.lookahead) == len(honest.lookahead)
        return replace(idle, strikes=reached, poisoned=poisoned if reached else None)

    def craft(self, view: View, *path: int | str) -> Tensor:
        """(f, d) what the malicious clients upload, from what they are shown; ``path`` names a lookahead's draws."""
        forged = self.adversary.forge(view, stream(self.seed, "round", view.round, "attack", *path))
        if not isinstance(forged, torch.Tensor) or forged.shape != view.own.shape:
            shape = tuple(getattr(forged, "shape", ()))
            raise Mistake(
                f"attack: it made a {type(forged).__name__} of shape {shape}, not rows {tuple(view.own.shape)}"
            )
        return forged


@dataclass(frozen=True)
class Turn:
    """The adversary in one round.

    Fields:
        honest: all uploads as they honestly are.
        own: (n,) which of them are the adversary's clients'.
        params: (size,) the broadcast.
        chosen: how many clients were asked.
        last: (d,) how the broadcast weights have changed since the round before, where that is known.
        strikes: whether it replaces its clients' uploads.
        poisoned: its clients' work on poisoned data; None when the attack poisons none, or does not strike.
    """

    forger: Forger
    honest: Uploads
    own: Tensor
    params: Tensor
    round: int
    chosen: int
    last: Tensor | None
    strikes: bool = False
    poisoned: Uploads | None = None

    def ahead(self, moment: int, memory: Memory) -> Uploads:
        """What is uploaded at a lookahead, from 0, when the server remembers ``memory``."""
        early = replace(self.honest, rows=self.honest.lookahead[moment], dropped=(), lookahead=())
        if not self.strikes or self.forger.adversary.schedule.late:
            return early
        poisoned = None if self.poisoned is None else self.poisoned.lookahead[moment]
        return self._sent(early, poisoned, memory, "lookahead", moment)

    def sent(self, memory: Memory) -> Uploads:
        """What is uploaded at the round's end, when the server remembers ``memory``, in the honest uploads' memory."""
        if not self.strikes:
            return self.honest
        return self._sent(
            replace(self.honest, lookahead=()), None if self.poisoned is None else self.poisoned.rows, memory
        )

    def _sent(self, honest: Uploads, poisoned: Tensor | None, memory: Memory, *path: int | str) -> Uploads:
        """The uploads with the adversary's rows replaced. An accomplice that crafts nothing uploads nothing.

        Attacks craft weights; the malicious clients' buffers stay what they honestly were.
        """
        forger = self.forger
        view, ids = self._view(honest, poisoned, memory), honest.clients[self.own].tolist()
        if forger.accomplices is None:
            return _replaced(honest, dict(zip(ids, forger.craft(view, *path), strict=True)))
        crafted, lost = forger.accomplices.craft(view, ids, *path)
        return _replaced(_without(honest, lost), crafted)

    def _view(self, honest: Uploads, poisoned: Tensor | None, memory: Memory) -> View:
        """What the attack may see."""
        forger, own = self.forger, self.own
        d = forger.layout.weights
        sees_others = forger.adversary.knowledge in ("honest", "rule")
        sees_rule = forger.adversary.knowledge == "rule"
        return View(
            round=self.round,
            n=self.chosen,
            params=self.params[:d].clone(),
            own=honest.rows[own, :d],
            honest=honest.rows[~own, :d] if sees_others else None,
            rule=forger.rule if sees_rule else None,
            memory={name: tensor.clone() for name, tensor in memory.items()} if sees_rule else None,
            poisoned=None if poisoned is None else poisoned[:, :d],
            layout=forger.layout,
            data=tuple(forger.shards[client] for client in honest.clients[own].tolist()),
            last=self.last,
            attackers=tuple(honest.clients[own].tolist()) if sees_rule else (),
            others=tuple(honest.clients[~own].tolist()) if sees_rule else (),
        )


def _replaced(uploads: Uploads, crafted: Mapping[int, Tensor]) -> Uploads:
    """The uploads with these clients' weights (d,) crafted, in the same memory: all rows together are large."""
    places = {client: place for place, client in enumerate(uploads.clients.tolist())}
    for client, row in crafted.items():
        uploads.rows[places[client], : len(row)] = row
    return uploads


def _without(uploads: Uploads, lost: tuple[Drop, ...]) -> Uploads:
    """The uploads but for those of the lost clients."""
    if not lost:
        return uploads
    kept = ~torch.isin(uploads.clients, torch.tensor([drop.client for drop in lost]))
    return replace(
        uploads,
        rows=uploads.rows[kept.to(uploads.rows.device)],
        examples=uploads.examples[kept],
        losses=uploads.losses[kept],
        clients=uploads.clients[kept],
        dropped=(*uploads.dropped, *lost),
    )
