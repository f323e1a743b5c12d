"""Inner product manipulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.base import Malicious
from fedsim.domain import Knowledge, NonNegative, Refused

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View


@dataclass(frozen=True)
class InnerProductManipulation(Malicious):
    """All malicious clients upload the honest mean turned round: x = -epsilon mean(honest).

    Under plain averaging of n uploads, f of them malicious, the aggregate becomes (n - f - epsilon f)/n times the
    honest mean,
    so it points backwards exactly when epsilon > (n - f)/f. A small epsilon stays near the honest updates and fools
    distance-based rules.

    Fields:
        epsilon: length of the upload, as a multiple of the honest mean.
    Knowledge: with "honest", the mean of the other clients' updates; with "own", the mean of its own clients'.
    Refuses: knowledge "honest" where all clients are malicious, so that no honest mean is there.
    Cost: O(h d).
    Source: Xie, Koyejo, Gupta, Fall of Empires, UAI 2019, Sec. 4.
    """

    epsilon: NonNegative = 10.0

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        if f == n and knowledge != "own":
            raise Refused(
                f"ipm refuses f = {f} attackers of n = {n}: no honest mean is left to turn round; "
                'it needs f < n, or knowledge "own"'
            )

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), the same row for all."""
        return (view.seen.mean(dim=0) * -self.epsilon).expand_as(view.own).clone()
