"""What Romoa makes of one upload, as its definition reads: selection, measures, mean shift, deviations; all in loops.

Rows are (n, d): each client's upload less the weights last synced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Cell = tuple[int, bool]
"""A tensor, and whether the parameter is selected."""

ROUNDING = 1e-9
"""In parts of the range: values this near to each other are equal."""


@dataclass(frozen=True)
class Switches:
    """What a reading is made of; as they stand here, the robust one."""

    clip: float = 1.0
    reference: Literal["clipped", "mean"] = "clipped"
    centroid: Literal["majority", "own"] = "majority"
    deviation: Literal["two-sided", "signed"] = "two-sided"
    temperature: float = 0.1
    gate: bool = True
    pattern: Literal["pearson", "printed"] = "pearson"
    select_ratio: float | None = None
    beta: float = 0.5


READINGS = {
    "robust": Switches(),
    "paper": Switches(clip=math.inf, reference="mean"),
    "literal": Switches(math.inf, "mean", "own", "signed", temperature=1.0, gate=False, pattern="printed"),
}


def cosine(one: Array, other: Array) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return math.fsum(one * other) / lengths if lengths > 0 else 0.0


def centred(row: Array) -> Array:
    return row - math.fsum(row) / len(row)


def spread(row: Array) -> float:
    return math.hypot(*centred(row)) / math.sqrt(len(row))


def pearson(row: Array, reference: Array) -> float:
    return cosine(centred(row), centred(reference))


def printed(row: Array, reference: Array) -> float:
    """Equation 7 as it stands."""
    spreads = spread(row) * spread(reference)
    return cosine(row, reference) / spreads if spreads > 0 else 0.0


def bandwidth_of(values: Sequence[float]) -> float:
    """As scikit-learn estimates it: the mean distance to the farthest of the 0.3 n nearest, itself the first of them.

    It finds none for six clients or fewer. Then, half the least distance between two that are not equal.
    """
    neighbours, least = max(1, int(0.3 * len(values))), ROUNDING * (max(values) - min(values))
    farthest = [sorted(abs(value - other) for other in values)[neighbours - 1] for value in values]
    estimate = math.fsum(farthest) / len(values)
    apart = [abs(value - other) for value in values for other in values if abs(value - other) > least]
    return estimate if estimate > least else min(apart, default=0.0) / 2


def mode_above(value: float, values: Sequence[float], bandwidth: float) -> tuple[float, int]:
    """Where the window around ``value`` comes to rest when it moves to the mean within, and how many it then holds."""
    within: list[float] = []
    while True:
        before, within = within, [other for other in values if abs(other - value) <= bandwidth]
        if within == before:
            return value, len(within)
        value = math.fsum(within) / len(within)


def clusters(values: Sequence[float], bandwidth: float) -> list[list[int]]:
    """Mean shift with a flat kernel; of modes nearer than the bandwidth the fuller stays, of equals the higher."""
    modes = {mode_above(value, values, bandwidth) for value in values}
    kept: list[float] = []
    for mode, _ in sorted(modes, key=lambda found: (found[1], found[0]), reverse=True):
        if all(abs(mode - other) > bandwidth for other in kept):
            kept.append(mode)
    groups: list[list[int]] = [[] for _ in kept]
    for i, value in enumerate(values):
        distances = [abs(value - mode) for mode in kept]
        groups[distances.index(min(distances))].append(i)
    return groups


def mean_of(values: Sequence[float], group: Sequence[int]) -> float:
    return math.fsum(values[i] for i in group) / len(group)


def majority_centroids(values: Sequence[float]) -> list[float]:
    """The mean of the first cluster to hold more than half of them as the bandwidth grows, for each client."""
    bandwidth = bandwidth_of(values)
    while True:
        largest = max(clusters(values, bandwidth), key=len)
        if 2 * len(largest) > len(values):
            return [mean_of(values, largest)] * len(values)
        bandwidth *= 1.5


def own_centroids(values: Sequence[float]) -> list[float]:
    """The mean of each client's own cluster."""
    centroids = [math.nan] * len(values)
    for group in clusters(values, bandwidth_of(values)):
        for i in group:
            centroids[i] = mean_of(values, group)
    return centroids


def softmax(scores: Sequence[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def selection(uploads: Array, ratio: float | None) -> list[bool]:
    """Equation 4: whether any client has the entry among its largest."""
    n, d = uploads.shape
    count = -(-d // n) if ratio is None else math.ceil(ratio * d)
    chosen = [False] * d
    for upload in uploads:
        for entry in sorted(range(d), key=lambda w: -abs(upload[w]))[:count]:
            chosen[entry] = True
    return chosen


def median_length(rows: Array) -> float:
    return float(np.median([math.hypot(*row) for row in rows]))


def clip_scales(rows: Array, clip: float) -> list[float]:
    lengths, middle = [math.hypot(*row) for row in rows], median_length(rows)
    return [1.0 if length == 0 or math.isinf(clip) else min(1.0, clip * middle / length) for length in lengths]


@dataclass(frozen=True)
class Measures:
    """Of n clients, and of each of L tensors.

    Fields:
        similarity: S, n numbers.
        cosines, patterns: L times n numbers; no pattern of a tensor of fewer than three entries.
    """

    similarity: list[float]
    cosines: list[list[float]]
    patterns: list[list[float] | None]


def measures_of(
    rows: Array, reference: Array, selected: Sequence[bool], tensors: Sequence[slice], pattern: str
) -> Measures:
    """Equations 5 to 7."""
    alike, chosen = pearson if pattern == "pearson" else printed, np.array(selected)
    return Measures(
        [cosine(row[chosen], reference[chosen]) for row in rows],
        [[cosine(row[place], reference[place]) for row in rows] for place in tensors],
        [
            [alike(row[place], reference[place]) for row in rows] if place.stop - place.start >= 3 else None
            for place in tensors
        ],
    )


def scores_of(measures: Measures, cell: Cell, switches: Switches) -> list[float]:
    """What equations 8 to 11 give each client in a cell, over the temperature."""
    tensor, is_selected = cell
    similarity = deviations(measures.similarity, switches)
    found = [similarity if is_selected else [0.0] * len(similarity), deviations(measures.cosines[tensor], switches)]
    pattern = measures.patterns[tensor]
    if pattern is not None:
        found.append(deviations(pattern, switches))
    return [min(client) for client in zip(*found, strict=True)]


def deviations(values: Sequence[float], switches: Switches) -> list[float]:
    centroids = majority_centroids(values) if switches.centroid == "majority" else own_centroids(values)
    away = [value - centroid for value, centroid in zip(values, centroids, strict=True)]
    return [(value if switches.deviation == "signed" else -abs(value)) / switches.temperature for value in away]
