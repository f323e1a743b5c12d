"""SignGuard: uploads of usual length whose signs are like most others', shortened to the median length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from fedsim.domain import Aggregate, Count, Memory, Refused, Share, Updates
from fedsim.lazy import torch
from fedsim.seeds import stream
from strategies.directions import lengths
from strategies.filtering import Counting, shortened_mean
from strategies.preconditions import enough

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    Doubles = NDArray[np.float64]

_NEIGHBOURS = 0.5
"""Of the clients; mean shift's reach is the mean distance to the farthest of so many nearest."""
_SAME = 1e-6
"""Mean shift's least reach: equal statistics are one cluster, and the distance measured between them may be 1e-8."""


@dataclass(frozen=True)
class SignGuard(Counting):
    """Average the updates of usual length and usual signs, none longer than the median.

    With M the median of the lengths |x_i|, over a random share of the coordinates:

        A = clients with L M <= |x_i| <= R M
        B = the largest cluster of the clients' (shares of positive, zero and negative entries), by mean shift
        signguard = mean over A and B of x_i min(1, M / |x_i|)

    Clusters of equal size: that of the lowest client id. Weights are ignored. Each of those averaged has the same
    share, of the shortened updates.

    Fields:
        byzantine: f, the number of clients the server fears; changes what is refused, not the result.
        shortest, longest: L and R.
        coordinates: the share of them that is looked at, at least one.
        seed: names the stream of coordinates; the run's when left out, and 0 where there is no run.
    Memory: ``round``, an int64 scalar: the rounds aggregated so far, by which coordinates are drawn.
    Refuses: n < 2 f + 1; a round in which nobody is in A and in B.
    Cost: O(n d) time, a row's coordinates beside the input; mean shift O(n^2) a step.
    Source: Xu et al., ICDCS 2022, the algorithm named SignGuard; mean shift by scikit-learn, its reach by
    ``estimate_bandwidth`` at the quantile 0.5 as in the authors' code, with all clients as seeds.
    Differs from: the paper's variants that add a similarity to the last aggregate to the signs (SignGuard-Sim, -Dist).
    """

    byzantine: Count = 0
    shortest: Share = 0.1
    longest: Annotated[float, Ge(1)] = 3.0
    coordinates: Annotated[float, Gt(0), Le(1)] = 0.1
    seed: Count | None = None

    def require(self, n: int) -> None:
        """Refuse n < 2 f + 1."""
        enough("signguard", n, self.byzantine, slope=2, offset=1)

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Aggregate one round."""
        n, rows = len(updates), updates.deltas
        self.require(n)
        norms = lengths(rows)
        middle = float(np.median(norms))
        usual = (self.shortest * middle <= norms) & (norms <= self.longest * middle)
        alike = self._alike(updates, stream(self.seed or 0, "signguard", int(memory["round"])))
        kept = usual & alike
        if not kept.any():
            raise Refused(
                f"signguard refuses this round of n = {n} uploads: {usual.sum()} are of usual length, {alike.sum()} of "
                "usual signs, and none is both"
            )
        step, shares = shortened_mean(rows, norms, middle, kept)
        return Aggregate(step, {"round": memory["round"] + 1}, shares)

    def _alike(self, updates: Updates, rng: Generator) -> NDArray[np.bool_]:
        """(n,) whether a client is in the largest cluster of sign statistics."""
        n, d = updates.deltas.shape
        order = updates.clients.cpu().numpy().argsort(kind="stable")
        columns = np.sort(rng.choice(d, max(1, round(self.coordinates * d)), replace=False, shuffle=False))
        labels = _clusters(_signs(updates.deltas, torch.from_numpy(columns))[order])
        sizes = np.bincount(labels[labels >= 0])
        largest = next(label for label in labels if label >= 0 and sizes[label] == sizes.max())
        found = np.zeros(n, dtype=bool)
        found[order] = labels == largest
        return found


def _signs(rows: Tensor, columns: Tensor) -> Doubles:
    """(n, 3) each row's shares of positive, zero and negative entries in these columns."""
    columns, found = columns.to(rows.device), np.empty((len(rows), 3))
    for statistics, row in zip(found, rows, strict=True):
        signs = row[columns].sign()
        statistics[:] = [float((signs == sign).sum()) for sign in (1, 0, -1)]
    return found / len(columns)


def _clusters(points: Doubles) -> NDArray[np.int64]:
    """(n,) the cluster of each point (n, 3), by mean shift; -1 for one out of reach of all."""
    from sklearn.cluster import MeanShift, estimate_bandwidth

    reach = estimate_bandwidth(points, quantile=_NEIGHBOURS)
    labels: NDArray[np.int64] = MeanShift(bandwidth=max(reach, _SAME), cluster_all=False).fit(points).labels_
    return labels
