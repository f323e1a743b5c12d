"""Fang's local model poisoning: a directed deviation against Krum, median or trimmed mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Gt

from clients.base import Malicious
from fedsim.domain import Count, Knowledge, Refused
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View

OCTAVES = 16
"""How often the largest deviation that Krum could ever pick is halved at most."""
STEPS = 16
"""Deviations that are tried in each octave, and then between the largest that Krum picks and the next."""
CLEAR = 1 + 1e-6
"""By what factor the crafted rows must win: the server's distances are rounded."""

KRUM_LIKE = ("Krum", "MultiKrum", "Bulyan")


@dataclass(frozen=True)
class Fang(Malicious):
    """Push the aggregate against the sign s of the honest step, as far as the rule lets it.

    Against Krum, all rows are x = -lambda s, for the largest lambda with which Krum still picks one of them, to within
    0.3 %; 0 where it picks none. Against median and trimmed mean, each entry is drawn beyond the honest extreme on the
    side against s:

        s_j > 0: from [b min_j, min_j], or [min_j / b, min_j] where min_j > 0;    s_j < 0: likewise above max_j

    and under knowledge "own", where the extremes are unknown, from mu_j -+ [3, 4] sigma_j.

    Fields:
        against: the rule to break; auto is krum where the server's rule is seen to pick by distances and n >= 2f + 3,
            else trimmed_mean.
        b: how far beyond the extremes.
        feared: how many Byzantine clients the Krum to be broken is set to fear; f when left out.
    Knowledge: "honest" is the paper's full knowledge, "own" its partial one; "rule" lets ``auto`` choose.
    Refuses: knowledge "own" with fewer than two clients; against krum, where krum promises nothing (n < 2f + 3), or
        where under knowledge "own" the colluders are fewer than 4, too few to play Krum among themselves.
    Cost: O(h^2 d + h f) against krum, O(h d) else.
    Source: Fang, Cao, Jia, Gong, USENIX Security 2020, Sec. 3.2 to 3.4; the bound is their Theorem 1.
    Differs from: the paper, which halves lambda from its bound and stops at the first that is picked, half the largest
        at worst, or none where what Krum picks has gaps; we try 16 in each octave. Its weights are our updates, which
        differ by the broadcast model; s is the sign of the mean update; every attacker draws its own row.
    """

    against: Literal["auto", "krum", "median", "trimmed_mean"] = "auto"
    b: Annotated[float, Gt(1)] = 2.0
    feared: Count | None = None

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        if knowledge == "own" and f < 2:
            raise Refused(f"fang refuses f = {f} attackers that see only their own updates: it takes a spread from 2")
        if self.against != "krum":
            return
        feared = f if self.feared is None else self.feared
        if n < 2 * feared + 3:
            raise Refused(f"fang against krum refuses n = {n}, f = {feared}: krum needs n >= 2f + 3 = {2 * feared + 3}")
        if knowledge == "own" and f < 4:
            raise Refused(
                f"fang against krum refuses f = {f} attackers that see only their own updates: "
                "they play krum among themselves and need at least 4"
            )

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d)."""
        if self._rule(view) == "krum":
            return against_krum(view, self.feared).expand_as(view.own).clone()
        return self._beyond(view, rng)

    def _rule(self, view: View) -> str:
        if self.against != "auto":
            return self.against
        feared = len(view.own) if self.feared is None else self.feared
        picks = type(view.rule).__name__ in KRUM_LIKE and view.n >= 2 * feared + 3
        return "krum" if picks else "trimmed_mean"

    def _beyond(self, view: View, rng: Generator) -> Tensor:
        seen = view.seen
        mean = seen.mean(dim=0)
        down = mean > 0
        share = torch.from_numpy(rng.random(view.own.shape, dtype=np.float32)).to(mean.device)
        if view.honest is None:
            width = (3 + share) * seen.std(dim=0, correction=0)
            return torch.where(down, mean - width, mean + width)
        low, high = seen.amin(dim=0), seen.amax(dim=0)
        under = torch.where(low > 0, low / self.b, low * self.b)
        above = torch.where(high > 0, high * self.b, high / self.b)
        near, far = torch.where(down, low, high), torch.where(down, under, above)
        return near + share * (far - near)


def against_krum(view: View, feared: int | None = None) -> Tensor:
    """(d,) -lambda s for the largest lambda with which Krum picks it; 0 where there is none.

    Krum fears as many as there are crafted rows, or ``feared``.
    """
    seen = view.seen.double()
    sign = seen.mean(dim=0).sign()
    if view.honest is not None:
        scale = _largest(seen, sign, len(view.own), feared)
    else:
        # Partial knowledge: the colluders' honest updates stand for all, with as few crafted ones as it takes.
        tried = (_largest(seen, sign, copies, None) for copies in range(1, len(seen) - 2))
        scale = next((found for found in tried if found > 0), 0.0)
    return (-scale * sign).to(view.own.dtype)


def _largest(honest: Tensor, sign: Tensor, f: int, feared: int | None) -> float:
    """The largest lambda for which Krum, among ``honest`` (h, d) and f rows -lambda s, picks one of these."""
    h, width = len(honest), max(float(sign.abs().sum()), 1.0)
    neighbours = h - 2 if feared is None else h + f - feared - 2
    if neighbours < 1:
        return 0.0
    apart = torch.cdist(honest, honest, compute_mode="donot_use_mm_for_euclid_dist").square()
    # sums[:, k] is how far the k nearest honest ones are from each; the nearest of all is itself.
    sums = apart.sort(dim=1).values.cumsum(dim=1)
    squares, along = honest.square().sum(dim=1), honest @ sign
    # Theorem 1, in updates: the broadcast model is 0.
    bound = math.sqrt(float(sums[:, min(neighbours, h - 1)].min()) / max((neighbours - f + 1) * width, 1.0))
    bound += math.sqrt(float(squares.max()) / width)

    def largest_picked(scales: Tensor) -> int | None:
        """The place of the first of descending scales (k,) that is picked."""
        to_crafted = squares + scales[:, None] * (2 * along + scales[:, None] * width)
        crafted = to_crafted.sort(dim=1).values[:, : max(neighbours - (f - 1), 0)].sum(dim=1)
        # The least sum with j crafted neighbours, over j.
        counts = range(max(neighbours - h + 1, 0), min(f, neighbours) + 1)
        with_crafted = (sums[:, neighbours - j] + j * to_crafted for j in counts)
        picked = crafted * CLEAR < reduce(torch.minimum, with_crafted).amin(dim=1)
        return int(picked.int().argmax()) if bool(picked.any()) else None

    steps = torch.arange(OCTAVES * STEPS, dtype=honest.dtype, device=honest.device)
    place = largest_picked(bound * 2 ** (-steps / STEPS))
    if place is None:
        return 0.0
    between = bound * 2 ** (-(place - 1 + steps[: STEPS + 1] / STEPS) / STEPS)
    found = largest_picked(between)
    return float(between[STEPS if found is None else found])
