"""Mimic: all malicious clients copy one honest client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clients.base import Malicious
from fedsim.domain import Count, Knowledge, Refused
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View


@dataclass(frozen=True)
class Mimic(Malicious):
    """Give one honest client f more votes, which no test for outliers can see, and heterogeneous data suffer from.

    Fields:
        victim: place of the copied client among the honest updates of the round, in order of their ids; when left out,
            the one furthest out along the direction in which the honest updates vary most.
    Knowledge: "honest".
    Refuses: a round without honest clients, or with fewer than ``victim`` + 1. Where sampling or lost uploads leave a
        round fewer, the adversary does not strike in it; nobody else is copied instead.
    Cost: O(h^2 d).
    Source: Karimireddy, He, Jaggi, ICLR 2022, Sec. 4 and App. B.
    Differs from: the paper, which learns the direction over the first rounds and then keeps it; ours is each round's.
    """

    needs: ClassVar[Knowledge] = "honest"
    victim: Count | None = None

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        least = 1 if self.victim is None else self.victim + 1
        if n - f < least:
            raise Refused(f"mimic refuses {n - f} honest clients (n = {n}, f = {f}): it needs at least {least}")

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), the same row for all."""
        honest = view.seen
        victim = _furthest(honest) if self.victim is None else self.victim
        return honest[victim].expand_as(view.own).clone()


def _furthest(rows: Tensor) -> int:
    """The row with the largest projection, either way, on the first principal direction of (h, d)."""
    centred = rows.double() - rows.double().mean(dim=0)
    # The first left singular vector holds these projections, up to one factor.
    _, vectors = torch.linalg.eigh(centred @ centred.T)
    return int(vectors[:, -1].abs().argmax())
