"""Geometry of the rows of a matrix: inner products, and distances that do not cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedsim import compiled
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Doubles = NDArray[np.float64]

_CHUNK = 1 << 19
"""Entries worked on at a time, so that a pass over (n, d) needs little memory beside it."""
_RESOLVED = 1 / 128
"""What part of two squared lengths their squared distance must be, lest rounded products blur it."""
_TINY = 1e-30
"""The mean square of an entry below which products may vanish in float32."""


def column_chunks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of columns, in order, each of at most a fixed number of entries of a (rows, columns) matrix."""
    width = max(1, _CHUNK // max(rows, 1))
    for start in range(0, columns, width):
        yield slice(start, min(start + width, columns))


def weighted_sum(rows: Tensor, weights: Tensor) -> Tensor:
    """(d,) the sum of the rows of (n, d), each times its weight (n,): one pass, over rows that weigh anything.

    A row that weighs nothing may be anything, nan included.
    """
    weights = weights.to(rows)
    if not compiled.suits(rows, times=4):
        found = torch.mv(rows.T, weights)
        if 0 in weights.tolist() and not found.sum().isfinite():
            # Nothing times nan is nan. To leave rows out beforehand would copy the others each time.
            some = weights != 0
            found = torch.mv(rows[some].T, weights[some])
        return found
    from fedsim.compiled import sums

    found, heavy = torch.empty_like(rows[0]), weights.numpy().nonzero()[0]
    laid, weighing = compiled.laid_out(rows).only(heavy), weights.numpy()[heavy]
    compiled.in_parts(rows, partial(sums.weighted_sum, laid, weights=weighing, out=found.numpy()))
    return found


def gram(rows: Tensor) -> Tensor:
    """(n, n) float64 inner products of the rows of (n, d).

    Products of float32 numbers are exact in float64. O(n^2 d) time, a chunk of columns beside the input.
    """
    if compiled.suits(rows):
        from fedsim.compiled import products

        return torch.from_numpy(_total(rows, products.gram))
    n, d = rows.shape
    found = torch.zeros(n, n, dtype=torch.float64, device=rows.device)
    for chunk in column_chunks(n, d):
        wide = rows[:, chunk].double()
        found.addmm_(wide, wide.T)
    return found


def rough_gram(rows: Tensor) -> Doubles:
    """(n, n) inner products of rows that suit compiled loops, at half the cost: off by some 1e-8 of two lengths.

    What float32 products cannot hold is inf, nan or 0; ``resolved`` says where that, or cancelling, matters.
    """
    from fedsim.compiled import products

    return _total(rows, partial(products.gram, single=True))


def resolved(distances: Doubles, lengths: Doubles, d: int) -> NDArray[np.bool_]:
    """Whether squared distances in d dimensions, made of rough products, stand out from their error.

    Fields:
        lengths: the two squared lengths that each is a difference of, summed.
    """
    # What is not a number is above nothing.
    clear: NDArray[np.bool_] = (distances > _RESOLVED * lengths) & (distances > _TINY * d)
    return clear


def squared_distances(rows: Tensor) -> Tensor:
    """(n, n) float64 squared distances between the rows of (n, d), zero on the diagonal.

    Through a Gram matrix in float64, where products of float32 numbers are exact: so neither a large common offset
    nor one huge row spoils the others. Where compiled loops suit, through a rough one first, and distances that it
    does not resolve are summed anew: to some 1e-6 of each, or 3e-4 where all roundings fall alike. O(n^2 d) time,
    a chunk of columns beside the input.
    """
    if not compiled.suits(rows):
        return _distances(gram(rows))
    products = torch.from_numpy(rough_gram(rows))
    norms = products.diagonal()
    distances = _distances(products)
    clear = resolved(distances.numpy(), (norms[:, None] + norms).numpy(), rows.shape[1])
    pairs = np.argwhere(np.tril(~clear, -1))
    if len(pairs) > len(rows) ** 2 // 16:
        # One by one so many would cost more than all of them together.
        return _distances(gram(rows))
    if len(pairs):
        first, second = torch.from_numpy(pairs.T)
        distances[first, second] = distances[second, first] = _pair_distances(rows, pairs)
    return distances


def squared_distances_to(rows: Tensor, point: Tensor) -> Tensor:
    """(n,) float64 squared distances of the rows of (n, d) from a point (d,), as sums of squares.

    The square of a large float32 overflows float32. O(n d) time, a chunk of columns beside the input.
    """
    if compiled.suits(rows):
        return torch.from_numpy(_squared_distances_to(rows, point.detach().to(rows).contiguous().numpy()))
    squares = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for columns in column_chunks(*rows.shape):
        squares += (rows[:, columns].double() - point[columns]).square_().sum(dim=1)
    return squares


def _squared_distances_to(rows: Tensor, point: NDArray[np.float32]) -> Doubles:
    """(n,) of rows that suit compiled loops."""
    from fedsim.compiled import distances

    found = _total(rows, partial(distances.to_point, point=point, single=True))
    # Nothing cancels in sums of squares, but squares may be too large or too small for float32.
    blurred = np.flatnonzero(~(np.isfinite(found) & (found > _TINY * rows.shape[1])))
    if len(blurred):
        found[blurred] = _total(rows, partial(distances.to_point, point=point), blurred)
    return found


def _distances(products: Tensor) -> Tensor:
    norms = products.diagonal()
    distances = (norms[:, None] + norms[None, :] - products - products.T).clamp_(min=0)
    return distances.fill_diagonal_(0)


def _pair_distances(rows: Tensor, pairs: NDArray[np.int64]) -> Tensor:
    """(pairs,) squared distances of pairs (pairs, 2) of rows that suit compiled loops."""
    from fedsim.compiled import distances

    return torch.from_numpy(_total(rows, partial(distances.between_pairs, pairs=pairs)))


def _total(
    rows: Tensor, loop: Callable[[compiled.Rows, int, int], Doubles], chosen: compiled.Chosen | None = None
) -> Doubles:
    """What a compiled loop finds in all columns of the rows, or of the chosen; columns add up."""
    laid = compiled.laid_out(rows)
    if chosen is not None:
        laid = laid.only(chosen)
    found: Doubles = np.sum(compiled.in_parts(rows, partial(loop, laid)), axis=0)
    return found
