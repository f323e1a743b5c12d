"""Min-Max and Min-Sum: as far from the honest mean as hides among the honest updates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clients.base import Malicious
from clients.geometry import perturbation
from fedsim.domain import Knowledge, Refused
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View

ROUNDING = 2.0**-23
"""Above how far, as a part of its length, an upload moves when it is rounded to float32: it may not leave the bound."""


@dataclass(frozen=True)
class _Hidden(Malicious):
    """What the two have in common: x = mu + gamma p, for the largest gamma within a bound.

    Both bounds are quadratic in gamma, and their largest solution is taken in closed form, short of the bound by what
    rounding the upload may add.
    """

    perturbation: Literal["unit", "std", "sign"] = "unit"

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """At least two updates to see: the bound is a distance between them."""
        name, seen = _NAMES[type(self).__name__], f if knowledge == "own" else n - f
        if seen < 2:
            raise Refused(f"{name} refuses {seen} updates to see (n = {n}, f = {f}): it needs a distance between two")

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), the same row for all."""
        seen = view.seen.double()
        mean, direction = seen.mean(dim=0), perturbation(self.perturbation, seen)
        crafted = mean + self._largest(seen, mean, direction) * direction
        return crafted.to(view.own.dtype).expand_as(view.own).clone()

    def _largest(self, seen: Tensor, mean: Tensor, direction: Tensor) -> float:
        """Gamma, of |mu + gamma p - x_i|^2 = gamma^2 |p|^2 + 2 gamma p (mu - x_i) + |mu - x_i|^2."""
        h, offsets = len(seen), mean - seen
        apart = torch.cdist(seen, seen, compute_mode="donot_use_mm_for_euclid_dist").square()
        length = self._bounded(mean.square().sum().expand(h)).max().sqrt()
        bound = _short_of(float(self._bounded(apart).max().sqrt()), float(length))
        parts = direction.square().sum().expand(h), 2 * offsets @ direction, offsets.square().sum(dim=1)
        curves = zip(*(self._bounded(part).tolist() for part in parts), strict=True)
        return min(_root(a, b, c - bound**2) for a, b, c in curves)

    def _bounded(self, squares: Tensor) -> Tensor:
        """(..., k) what is bounded, of squared distances (..., h) to each update seen or of parts they add up from."""
        raise NotImplementedError


@dataclass(frozen=True)
class MinMax(_Hidden):
    """As far as no honest update is further from it than two honest ones are from each other.

        x = mu + gamma p,   the largest gamma with max_i |x - x_i| <= max_ij |x_i - x_j|

    Fields:
        perturbation: p; unit is -mu/|mu|, std minus the standard deviation entry by entry, sign -sign(mu).
    Knowledge: with "honest", the other clients' updates; with "own", its own clients'.
    Refuses: fewer than two updates to see.
    Cost: O(h^2 d).
    Source: Shejwalkar, Houmansadr, NDSS 2021, Sec. IV-B (AGR-agnostic).
    Differs from: the paper and its copies, which search for gamma by halving steps and may end outside the bound.
    """

    def _bounded(self, squares: Tensor) -> Tensor:
        return squares


@dataclass(frozen=True)
class MinSum(_Hidden):
    """As far as its squared distances to the honest updates add up to no more than any honest one's do.

        x = mu + gamma p,   the largest gamma with sum_i |x - x_i|^2 <= max_i sum_j |x_i - x_j|^2

    Fields:
        perturbation: p; unit is -mu/|mu|, std minus the standard deviation entry by entry, sign -sign(mu).
    Knowledge: with "honest", the other clients' updates; with "own", its own clients'.
    Refuses: fewer than two updates to see.
    Cost: O(h^2 d).
    Source: Shejwalkar, Houmansadr, NDSS 2021, Sec. IV-B (AGR-agnostic).
    Differs from: the paper and its copies, as Min-Max does.
    """

    def _bounded(self, squares: Tensor) -> Tensor:
        return squares.sum(dim=-1, keepdim=True)


_NAMES = {"MinMax": "min_max", "MinSum": "min_sum"}


def _short_of(bound: float, length: float) -> float:
    """``bound`` on distances from a row that lies no further than it from a mean of this length, less its rounding."""
    return max(bound - ROUNDING * (bound + length), 0.0)


def _root(a: float, b: float, c: float) -> float:
    """The largest g >= 0 with a g^2 + b g + c <= 0, for c <= 0; 0 where the direction is zero."""
    if a == 0:
        return 0.0
    # The form that does not cancel when b is positive.
    root = math.sqrt(b * b - 4 * a * min(c, 0.0))
    return -2 * min(c, 0.0) / (b + root) if b > 0 else (root - b) / (2 * a)
