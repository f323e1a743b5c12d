"""What rules share that keep some of a round's updates: counted rounds, and the mean of those kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.domain import Layout, Memory
from fedsim.geometry import weighted_sum
from fedsim.lazy import torch
from fedsim.tables import Settings
from strategies.directions import clip_factors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Counting(Settings):
    """Base of the rules that draw anew each round. Memory: ``round``, an int64 scalar: the rounds aggregated so far."""

    def init(self, layout: Layout) -> Memory:
        """No round played."""
        return {"round": torch.zeros((), dtype=torch.int64)}


def shortened_mean(
    rows: Tensor, lengths: NDArray[np.float64], bound: float, kept: NDArray[np.bool_]
) -> tuple[Tensor, Tensor]:
    """(d,) the mean of the rows (n, d) that are kept, at least one, none longer than ``bound``; and (n,) their shares.

    Fields:
        lengths: (n,) those of the rows.
        kept: (n,) whether a row is.
    """
    shares = kept / kept.sum()
    step = weighted_sum(rows, torch.from_numpy(shares * clip_factors(lengths, bound)))
    return step, torch.from_numpy(shares).to(rows)
