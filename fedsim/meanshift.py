"""Mean shift with a flat kernel, for numbers: where they gather, and which of them gather together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedsim.compiled import Places

    Doubles = NDArray[np.float64]

_QUANTILE = 0.3
"""Which part of all numbers counts as a number's neighbours."""
_GROWTH = 1.5
_ITERATIONS = 300
_ROUNDING = 1e-9
"""The distance, in parts of the range, below which numbers count as equal."""


def majority_centre(values: Doubles) -> float:
    """The mean of the first cluster that holds more than half of the values (n,), as the bandwidth grows by halves.

    The first bandwidth is that of ``clusters``. Cost: O(n^2) time and memory for each bandwidth.
    """
    width = bandwidth(values)
    while True:
        members = clusters(values, width)
        sizes = np.bincount(members)
        if 2 * sizes.max() > len(values):
            return float(values[members == sizes.argmax()].mean())
        width *= _GROWTH


def own_centres(values: Doubles) -> Doubles:
    """(n,) the mean of the cluster that each of the values (n,) is in."""
    members = clusters(values, bandwidth(values))
    means: Doubles = np.bincount(members, values) / np.bincount(members)
    return means[members]


def bandwidth(values: Doubles) -> float:
    """The mean distance of a value to the farthest of its nearest 0.3 n, itself among them.

    Where that is nothing, as for less than seven values, of which a value is its own and only neighbour, it is half the
    least distance between two values that is more than rounding: then equal values gather, and no others. 0 where all
    are equal.

    Source: scikit-learn's ``estimate_bandwidth``, which leaves it at 0.
    """
    nearest = max(1, int(_QUANTILE * len(values)))
    apart = np.abs(values[:, None] - values)
    found = float(np.partition(apart, nearest - 1, axis=1)[:, nearest - 1].mean())
    least = _ROUNDING * float(apart.max())
    return found if found > least else float(apart.min(initial=apart.max(), where=apart > least)) / 2


def clusters(values: Doubles, width: float) -> Places:
    """(n,) for each of the values (n,) the number of its cluster, from 0.

    Every value sets out as a centre, and each centre moves to the mean of the values within ``width`` of it until none
    does. Of centres within ``width`` of each other that with the most values stays, of equals the highest. A value
    belongs to the centre nearest to it.

    Source: Fukunaga and Hostetler, IEEE Transactions on Information Theory 1975; what follows the moves as in
    scikit-learn's ``mean_shift``, which stops them a little earlier.
    """
    ascending = np.sort(values)
    sums = np.concatenate([[0], np.cumsum(ascending)])
    centres = np.unique(ascending)
    for _ in range(_ITERATIONS):
        first, last = _within(ascending, centres, width)
        # Rounded, the mean of equal values is none of them.
        means = np.clip((sums[last + 1] - sums[first]) / (last + 1 - first), ascending[first], ascending[last])
        moved = np.unique(means)
        if np.array_equal(moved, centres):
            break
        centres = moved
    first, last = _within(ascending, centres, width)
    kept: list[float] = []
    for at in np.lexsort((centres, last - first))[::-1]:
        if all(abs(centres[at] - other) > width for other in kept):
            kept.append(float(centres[at]))
    found: Places = np.abs(values[:, None] - np.array(kept)).argmin(axis=1)
    return found


def _within(ascending: Doubles, centres: Doubles, width: float) -> tuple[Places, Places]:
    """(m,) the first and the last of the ascending values (n,) within ``width`` of each centre (m,); at least one."""
    first = np.searchsorted(ascending, centres - width).clip(max=len(ascending) - 1)
    last = np.searchsorted(ascending, centres + width, side="right") - 1
    return first, np.maximum(first, last)
