"""FLAME: the majority that points one way, shortened to the median length, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedsim.domain import Aggregate, Count, Memory, NonNegative, Refused, Updates
from fedsim.lazy import torch
from fedsim.seeds import stream
from strategies.directions import cosines, lengths
from strategies.filtering import Counting, shortened_mean
from strategies.preconditions import enough

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Flame(Counting):
    """Average the majority that points one way, none longer than the median, and add noise.

    With M the median of the lengths |x_i|, and L the cluster that HDBSCAN finds by the distances 1 - cos(x_i, x_j),
    of at least n // 2 + 1 updates:

        flame = (1 / |L|) sum over i in L of x_i min(1, M / |x_i|) + lambda M z,  z ~ N(0, I_d)

    There is at most one such cluster. It is the first to have so many members as ever greater distances are bridged.
    Weights are ignored. Each of L has the same share, of the shortened updates; the noise is nobody's.

    Fields:
        byzantine: f, the number of clients the server fears; changes what is refused, not the result.
        noise: lambda; 0 adds none.
        seed: names the stream of noise; the run's when left out, and 0 where there is no run.
    Memory: ``round``, an int64 scalar: the rounds aggregated so far, by which noise is drawn.
    Refuses: n < 2 f + 1; a round without such a cluster.
    Cost: O(n^2 d) time, O(n^2) memory.
    Source: Nguyen et al., USENIX Security 2022, Algorithm 1; HDBSCAN by scikit-learn, with min_samples = 1.
    Differs from: the paper, which clusters by cosines of models, where here they are of updates: models of one round
    all point the same way as the model they come from.
    """

    byzantine: Count = 0
    noise: NonNegative = 0.001
    seed: Count | None = None

    def require(self, n: int) -> None:
        """Refuse n < 2 f + 1."""
        enough("flame", n, self.byzantine, slope=2, offset=1)

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Aggregate one round."""
        n, rows = len(updates), updates.deltas
        self.require(n)
        norms = lengths(rows)
        middle = float(np.median(norms))
        admitted = _majority(updates)
        if not admitted.any():
            raise Refused(f"flame refuses this round of n = {n} uploads: no {n // 2 + 1} of them point one way")
        step, shares = shortened_mean(rows, norms, middle, admitted)
        if self.noise:
            step += self._noise(rows, middle, int(memory["round"]))
        return Aggregate(step, {"round": memory["round"] + 1}, shares)

    def _noise(self, rows: Tensor, middle: float, played: int) -> Tensor:
        """(d,) lambda M z."""
        drawn = stream(self.seed or 0, "flame", played).standard_normal(rows.shape[1], dtype=np.float32)
        return torch.from_numpy(drawn).to(rows) * (self.noise * middle)


def _majority(updates: Updates) -> NDArray[np.bool_]:
    """(n,) whether an update is in the cluster."""
    from sklearn.cluster import HDBSCAN

    n = len(updates)
    if n == 1:
        return np.ones(1, dtype=bool)
    order = updates.clients.cpu().numpy().argsort(kind="stable")
    distances = 1 - cosines(updates.deltas)[order][:, order]
    np.fill_diagonal(distances, 0)
    clusters = HDBSCAN(
        min_cluster_size=n // 2 + 1,
        min_samples=1,
        allow_single_cluster=True,
        metric="precomputed",
        copy=True,
    )
    found = np.zeros(n, dtype=bool)
    found[order] = clusters.fit(distances).labels_ == 0
    return found
