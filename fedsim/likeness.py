"""How rows point with a weighted sum of theirs, tensor by tensor: sums that a few passes over the rows give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedsim import compiled
from fedsim.geometry import column_chunks, weighted_sum
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fedsim.compiled import Places

    Doubles = NDArray[np.float64]

_BLURRED = 1e-12
"""The variance, in parts of the mean square, below which entries differ by rounding."""


@dataclass(frozen=True)
class Moments:
    """Of n rows, in each of L tensors.

    Fields:
        sizes: (L,) entries of each tensor.
        sums, squares: (n, L) float64 sums of the entries, and of their squares.
    """

    sizes: Doubles
    sums: Doubles
    squares: Doubles

    @property
    def lengths(self) -> Doubles:
        """(n,) of the whole rows; not finite for rows that are not."""
        found: Doubles = np.sqrt(self.squares.sum(axis=1))
        return found

    @property
    def spreads(self) -> Doubles:
        """(n, L) sums of the squared distances from the mean, 0 where those are rounding."""
        with np.errstate(invalid="ignore"):  # Of rows that are not finite.
            centred = self.squares - self.sums**2 / self.sizes.clip(min=1)
        return np.where(centred > _BLURRED * self.squares, centred, 0)


@dataclass(frozen=True)
class Likeness:
    """How n rows point with a reference.

    Fields:
        there: (n,) cosines over the marked entries alone.
        cosines, correlations: (n, L) of each tensor; 0 where one of the two does not vary, or has no length.
        scales: (n, L) the product of the two standard deviations.
    """

    there: Doubles
    cosines: Doubles
    correlations: Doubles
    scales: Doubles


def moments(rows: Tensor, edges: Places) -> Moments:
    """The sums behind lengths and spreads of rows (n, d), whose tensors lie between ``edges`` (L + 1,)."""
    found = torch.zeros(2, len(rows), len(edges) - 1, dtype=torch.float64, device=rows.device)
    for tensor, columns in _chunks(rows, edges):
        wide = rows[:, columns].double()
        found[0, :, tensor] += wide.sum(dim=1)
        found[1, :, tensor] += wide.square().sum(dim=1)
    return Moments(np.diff(edges).astype(np.float64), *found.cpu().numpy())


def sum_of(rows: Tensor, weights: Doubles) -> Tensor:
    """(d,) the sum of rows (n, d), each times its weight (n,); a row without weight may be anything, nan included."""
    heavy = weights.nonzero()[0]
    if len(heavy) < len(weights) and not compiled.suits(rows, times=4):
        rows, weights = rows[torch.from_numpy(heavy).to(rows.device)], weights[heavy]
    return weighted_sum(rows, torch.from_numpy(weights))


def likeness(rows: Tensor, own: Moments, reference: Tensor, marked: Tensor, edges: Places) -> Likeness:
    """How rows (n, d) point with a reference (d,): over marked entries (d,), and in each tensor. One pass.

    Fields:
        own: the rows' moments.
    """
    line, kept = reference[None], marked.to(rows)
    everywhere, there, squares = _products(rows, reference, kept, edges)
    its, (_, _, its_squares) = moments(line, edges), _products(line, reference, kept, edges)
    with np.errstate(invalid="ignore"):  # Of rows that are not finite.
        covered = everywhere - own.sums * its.sums / own.sizes.clip(min=1)
    spreads, its_spreads = np.sqrt(own.spreads), np.sqrt(its.spreads)
    return Likeness(
        _ratio(there.sum(axis=1), np.sqrt(squares.sum(axis=1)), np.sqrt(its_squares.sum())),
        _ratio(everywhere, np.sqrt(own.squares), np.sqrt(its.squares)),
        _ratio(covered, spreads, its_spreads),
        spreads * its_spreads / own.sizes.clip(min=1),
    )


def _products(rows: Tensor, reference: Tensor, kept: Tensor, edges: Places) -> Doubles:
    """(3, n, L) sums of x r, of x r where kept (d,) is 1 and not 0, and of x x there, of every row and tensor."""
    if compiled.suits(rows):
        from fedsim.compiled import alignment

        loop = partial(alignment.products, reference=reference.numpy(), kept=kept.numpy(), edges=edges)
        sums: Doubles = np.sum(compiled.in_parts(rows, partial(loop, compiled.laid_out(rows))), axis=0)
        return sums
    found = torch.zeros(3, len(rows), len(edges) - 1, dtype=torch.float64, device=rows.device)
    for tensor, columns in _chunks(rows, edges):
        wide, met = rows[:, columns].double(), reference[columns].double()
        found[0, :, tensor] += wide @ met
        wide = wide * kept[columns]
        found[1, :, tensor] += wide @ met
        found[2, :, tensor] += wide.square().sum(dim=1)
    sums = found.cpu().numpy()
    return sums


def _chunks(rows: Tensor, edges: Places) -> Iterator[tuple[int, slice]]:
    """Slices of columns, in order, none across the edge of a tensor, and the tensor each lies in."""
    for tensor, (first, last) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        for chunk in column_chunks(len(rows), last - first):
            yield tensor, slice(first + chunk.start, first + chunk.stop)


def _ratio(products: Doubles, one: Doubles, other: Doubles | np.float64) -> Doubles:
    """Products by two lengths, 0 where one of those is 0; one after the other, since their product may overflow."""
    one, other = np.broadcast_arrays(one, other)
    with np.errstate(invalid="ignore"):
        found: Doubles = products / np.where(one > 0, one, np.inf) / np.where(other > 0, other, np.inf)
    return found
