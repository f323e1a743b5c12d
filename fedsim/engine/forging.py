"""The adversary's turn: its clients' rows replaced by what its attack makes of what it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from clients.adversary import Adversary
from fedsim.domain import Aggregator, Dataset, Layout, Memory, Mistake, Poison, Refused, Uploads, View
from fedsim.lazy import torch
from fedsim.seeds import stream

if TYPE_CHECKING:
    from torch import Tensor


class Carrier(Protocol):
    """Whoever trains clients; it knows nothing of rules or attacks."""

    def train(self, clients: Sequence[int], params: Tensor, round: int, poisoned: bool = False) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked."""
        ...


@dataclass(frozen=True)
class Forger:
    """An adversary with what it works with.

    Fields:
        carrier: trains its clients on poisoned data, where the attack poisons any.
        shards: its clients' samples, by id.
        rule: the server's, shown to it only under knowledge "rule".
        seed: of the run.
    """

    adversary: Adversary
    carrier: Carrier
    shards: Mapping[int, Dataset]
    layout: Layout
    rule: Aggregator | None
    seed: int

    def strike(self, honest: Uploads, params: Tensor, round: int, chosen: int, memory: Memory) -> tuple[Uploads, bool]:
        """The uploads of a round with the adversary's rows replaced, and whether it struck.

        Attacks craft weights; the malicious clients' buffers stay what they honestly were. An attack that its own paper
        rules out for this round's numbers of clients does not strike in it.
        """
        adversary = self.adversary
        own = torch.tensor([client in adversary.clients for client in honest.clients.tolist()], dtype=torch.bool)
        f = int(own.sum())
        if f == 0 or not adversary.schedule.strikes(round, self.seed):
            return honest, False
        try:
            adversary.attack.require(chosen, f, adversary.knowledge)
        except Refused:
            return honest, False
        view = self._view(honest, own, params, round, chosen, memory)
        if view is None:
            return honest, False
        rows = honest.rows.clone()
        forged = adversary.forge(view, stream(self.seed, "round", round, "attack"))
        if not isinstance(forged, torch.Tensor) or forged.shape != view.own.shape:
            shape = tuple(getattr(forged, "shape", ()))
            raise Mistake(
                f"attack: it made a {type(forged).__name__} of shape {shape}, not rows {tuple(view.own.shape)}"
            )
        rows[own, : self.layout.weights] = forged
        return replace(honest, rows=rows), True

    def _view(
        self, honest: Uploads, own: Tensor, params: Tensor, round: int, chosen: int, memory: Memory
    ) -> View | None:
        """What the attack may see; None when its poisoned clients could not be reached."""
        d = self.layout.weights
        ids = honest.clients[own].tolist()
        poisoned = None
        if isinstance(self.adversary.attack, Poison):
            trained = self.carrier.train(ids, params, round, poisoned=True)
            if trained.clients.tolist() != ids:
                return None
            poisoned = trained.rows[:, :d]
        sees_others = self.adversary.knowledge in ("honest", "rule")
        sees_rule = self.adversary.knowledge == "rule"
        return View(
            round=round,
            n=chosen,
            params=params[:d].clone(),
            own=honest.rows[own, :d],
            honest=honest.rows[~own, :d] if sees_others else None,
            rule=self.rule if sees_rule else None,
            memory={name: tensor.clone() for name, tensor in memory.items()} if sees_rule else None,
            poisoned=poisoned,
            layout=self.layout,
            data=tuple(self.shards[client] for client in ids),
        )
