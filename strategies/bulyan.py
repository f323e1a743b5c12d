"""Bulyan: repeated Krum, then a trimmed mean around the median of what it picked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.domain import Aggregate, Count, Memory, Updates
from fedsim.lazy import torch
from fedsim.vectors import column_chunks, sorted_columns
from strategies.preconditions import Memoryless, enough
from strategies.rows import by_client

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Bulyan(Memoryless):
    """Pick theta updates by repeated Krum; per coordinate, average their values nearest the median.

    1. theta = n - 2 f times: of the r updates left, take the one with the lowest sum of squared distances to
       its r - f - 2 nearest among those left, and remove it. Scores are reckoned anew after each removal.
    2. Per coordinate, with m the median of the theta values: the mean of the beta = theta - 2 f nearest m.

    Where r - f - 2 < 1, which the last picks reach when f <= 1, one neighbour counts; the very last of all
    (f = 0) has none left and scores 0. Equal scores: the lowest index wins. Equal distances from m: the
    smaller value wins. Weights are ignored. The second step works entry by entry, so there are no shares.

    Fields:
        byzantine: f, the number of clients the server fears.
    Refuses: n < 4 f + 3, where the paper promises nothing.
    Cost: O(n^2 d + n log n d + n^3) time, O(n^2) and a chunk of columns of memory.
    Source: El Mhamdi et al., ICML 2018, Sec. 4.
    Differs from: the paper, which does not say what the last picks do; Flower (the theta of lowest first
    scores); FLPoison (indices of the reduced array, and no second step).
    """

    byzantine: Count

    def require(self, n: int) -> None:
        """Refuse n < 4 f + 3."""
        enough("bulyan", n, self.byzantine, slope=4, offset=3)

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Aggregate one round."""
        n = len(updates)
        self.require(n)
        order, distances = by_client(updates)
        picked = order[_repeated_krum(distances, self.byzantine)]
        step = torch.empty_like(updates.deltas[0])
        for columns in column_chunks(n, updates.deltas.shape[1]):
            chunk = updates.deltas[picked, columns]
            step[columns] = torch.cat(
                [_nearest_the_median(values, 2 * self.byzantine) for _, values in sorted_columns(chunk)]
            )
        return Aggregate(step)


def _repeated_krum(distances: Tensor, byzantine: int) -> Tensor:
    """(n - 2 f,) indices into the (n, n) squared distances, in the order of picking."""
    n = len(distances)
    ranked, neighbour = distances.sort(dim=1)
    left = torch.ones(n, dtype=torch.bool, device=distances.device)
    picks = []
    for remaining in range(n, 2 * byzantine, -1):
        counted = min(max(remaining - byzantine - 2, 1), remaining - 1)
        # A row's own inf is ranked last and never among the first ``counted`` of those left.
        present = left[neighbour]
        among = present & (present.cumsum(dim=1) <= counted)
        scores = ranked.masked_fill(~among, 0).sum(dim=1).masked_fill(~left, torch.inf)
        picks.append(scores.argmin())
        left[picks[-1]] = False
    return torch.stack(picks)


def _nearest_the_median(values: Tensor, excess: int) -> Tensor:
    """(width,) the mean of the theta - excess values nearest the median; rows of (width, theta) ascend.

    The nearest lie side by side. The window of beta values that starts at s moves up by one while its first
    value lies farther from the median than the value after its last. Both values only grow with s, so the
    start is the number of places at which this holds. In float64, where sums of two float32 values are exact.
    """
    theta = values.shape[1]
    beta = theta - excess
    wide = values.double()
    twice_median = wide[:, (theta - 1) // 2] + wide[:, theta // 2]
    start = (wide[:, :excess] + wide[:, beta:] < twice_median[:, None]).sum(dim=1, keepdim=True)
    place = torch.arange(theta, device=values.device)
    inside = (place >= start) & (place < start + beta)
    return (wide.masked_fill_(~inside, 0).sum(dim=1) / beta).to(values.dtype)
