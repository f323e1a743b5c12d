"""What the rules do with rows: combine them by shares, and measure them against each other by client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.lazy import torch
from fedsim.vectors import squared_distances

if TYPE_CHECKING:
    from torch import Tensor

    from fedsim.domain import Updates


def combine(shares: Tensor, rows: Tensor) -> Tensor:
    """(d,) the sum of shares_i rows_i, for shares (n,) and rows (n, d): one pass over the rows, no copy."""
    return torch.mv(rows.T, shares.to(rows))


def by_client(updates: Updates) -> tuple[Tensor, Tensor]:
    """The rows in ascending order of client id (n,), and the squared distances in that order (n, n).

    The diagonal is inf: no row is its own neighbour. Entries (i, j) and (j, i) are equal to the last bit,
    which the product behind them does not promise: two rows that are each other's nearest tie exactly. In
    that order "the lowest index wins" means the lowest client id, however the rows were handed in.
    """
    distances = squared_distances(updates.deltas)
    order = updates.clients.argsort().to(distances.device)
    distances = torch.minimum(distances, distances.T)[order][:, order]
    return order, distances.fill_diagonal_(torch.inf)


def at(rows: Tensor, n: int) -> Tensor:
    """(n,) float64 shares, equal on the distinct indices ``rows`` and zero elsewhere."""
    shares = torch.zeros(n, dtype=torch.float64, device=rows.device)
    return shares.index_fill_(0, rows, 1 / len(rows))
