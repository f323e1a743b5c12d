"""Sums of products of rows with a reference over each tensor that they are made of, in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedsim.compiled import Rows
from fedsim.compiled.compiler import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedsim.compiled import Floats, Places

    Doubles = NDArray[np.float64]

_RUN = 512
"""Columns of the reference that two rows meet while it lies in the nearest cache."""
_TWO = 2


def products(rows: Rows, first: int, last: int, *, reference: Floats, kept: Floats, edges: Places) -> Doubles:
    """(3, n, L) sums of x r, of x r where kept, and of x x where kept, of every row and tensor, over some columns.

    Fields:
        reference: (d,) r.
        kept: (d,) 1 where kept, else 0.
    """
    totals = np.zeros((3, len(rows.starts), len(edges) - 1))
    _products(*rows, first, last, reference, kept, edges, totals)
    return totals


def _sums(row: Floats, reference: Floats, kept: Floats) -> tuple[float, float, float]:
    everywhere = there = squares = 0.0
    for k in range(len(row)):
        value = np.float64(row[k])
        inside = value * np.float64(kept[k])
        everywhere += value * np.float64(reference[k])
        there += inside * np.float64(reference[k])
        squares += value * inside
    return everywhere, there, squares


_three_sums = compiled(_sums, reorder=True)


@compiled
def _products(
    flat: Floats, starts: Places, first: int, last: int, reference: Floats, kept: Floats, edges: Places, totals: Doubles
) -> None:
    for two in range(0, len(starts), _TWO):
        for tensor in range(len(edges) - 1):
            stop = min(last, edges[tensor + 1])
            for start in range(max(first, edges[tensor]), stop, _RUN):
                end = min(start + _RUN, stop)
                for i in range(two, min(two + _TWO, len(starts))):
                    row = flat[starts[i] + start : starts[i] + end]
                    everywhere, there, squares = _three_sums(row, reference[start:end], kept[start:end])
                    totals[0, i, tensor] += everywhere
                    totals[1, i, tensor] += there
                    totals[2, i, tensor] += squares
