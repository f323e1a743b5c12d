"""A little is enough."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from clients.base import Malicious
from fedsim.domain import Knowledge, Refused

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View


@dataclass(frozen=True)
class ALittleIsEnough(Malicious):
    """Hide inside the spread of the honest updates: x = mu - z sigma, entry by entry.

        z = Phi^-1((n - f - s) / (n - f)),   s = floor(n/2 + 1) - f

    s honest clients lie further out than the attackers, who with them make a majority. mu and sigma are mean and
    standard deviation (divided by the number of rows) of the updates the adversary sees.

    Fields:
        z: the number of standard deviations; computed from n and f when left out. The formula is 0 at n = 10, f = 2 and
            negative for fewer attackers: there the paper has no attack, and a z of one's own is needed.
    Refuses: f > n/2; n - f - s = 0, where z is infinite; fewer than two updates to see.
    Cost: O(h d).
    Source: Baruch, Baruch, Goldberg, NeurIPS 2019, Sec. 3.2, Algorithm 3.
    Differs from: FLANDERS, which takes the distribution function Phi instead of its inverse.
    """

    z: float | None = None

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        if 2 * f > n:
            raise Refused(f"alie refuses f = {f} attackers of n = {n}: it needs f <= n/2, at most {n // 2}")
        if knowledge == "own" and f < 2:
            raise Refused(
                f'alie needs knowledge "honest": it takes a spread from at least 2 updates, and its own '
                f"clients are {f}; granted: {knowledge!r}"
            )
        if n < 3:
            raise Refused(f"alie refuses n = {n} uploads: z is infinite; it needs n >= 3")

    def remark(self, n: int, f: int) -> list[str]:
        """What to know of a z that is no attack."""
        z = self.deviations(n, f)
        if z > 0:
            return []
        return [f"alie has z = {z:.2f} at n = {n}, f = {f}: it does not push away from the honest mean; set attack.z"]

    def deviations(self, n: int, f: int) -> float:
        """Z for n uploads, f of them the adversary's."""
        if self.z is not None:
            return self.z
        supporters = n // 2 + 1 - f
        return NormalDist().inv_cdf((n - f - supporters) / (n - f))

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), the same row for all."""
        mean, deviation = view.seen.mean(dim=0), view.seen.std(dim=0, correction=0)
        row = mean - self.deviations(view.n, len(view.own)) * deviation
        return row.expand_as(view.own).clone()
