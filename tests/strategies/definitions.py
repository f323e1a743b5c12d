"""Every rule again, as its definition reads: slow loops in float64, sharing no code with ``strategies``.

Rows are (n, d) arrays; ties fall as the rules' docstrings say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean(rows: Array, weights: Array) -> Array:
    total = np.zeros(rows.shape[1])
    for row, weight in zip(rows, weights, strict=True):
        total += weight * row
    return total / sum(weights)


def middle(values: Sequence[float]) -> float:
    ordered = sorted(values)
    n = len(ordered)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2


def median(rows: Array) -> Array:
    return np.array([middle(column) for column in rows.T.tolist()])


def trimmed_mean(rows: Array, trim: int) -> Array:
    kept = [sorted(column)[trim : len(column) - trim] for column in rows.T.tolist()]
    return np.array([sum(values) / len(values) for values in kept])


def squared_distance(one: Array, other: Array) -> float:
    return sum((a - b) ** 2 for a, b in zip(one.tolist(), other.tolist(), strict=True))


def krum_scores(rows: Array, neighbours: int) -> list[float]:
    scores = []
    for i, row in enumerate(rows):
        others = sorted(squared_distance(row, other) for j, other in enumerate(rows) if j != i)
        scores.append(sum(others[:neighbours]))
    return scores


def krum_order(rows: Array, byzantine: int) -> list[int]:
    scores = krum_scores(rows, len(rows) - byzantine - 2)
    return sorted(range(len(rows)), key=lambda i: (scores[i], i))


def bulyan_picks(rows: Array, byzantine: int) -> list[int]:
    left, picks = list(range(len(rows))), []
    while len(picks) < len(rows) - 2 * byzantine:
        neighbours = min(max(len(left) - byzantine - 2, 1), len(left) - 1)
        scores = krum_scores(rows[left], neighbours)
        picks.append(left.pop(scores.index(min(scores))))
    return picks


def bulyan(rows: Array, byzantine: int) -> Array:
    picked = rows[bulyan_picks(rows, byzantine)]
    result = []
    for column in picked.T.tolist():
        center = middle(column)
        nearest = sorted(column, key=lambda value: (abs(value - center), value))
        kept = nearest[: len(column) - 2 * byzantine]
        result.append(sum(kept) / len(kept))
    return np.array(result)


def distance_sum(point: Array, rows: Array, weights: Array) -> float:
    """What the geometric median makes least."""
    return sum(w * float(np.linalg.norm(point - row)) for row, w in zip(rows, weights, strict=True))


def geometric_median(rows: Array, weights: Array, smoothing: float, steps: int) -> Array:
    point = mean(rows, weights)
    for _ in range(steps):
        distances = [max(smoothing, float(np.linalg.norm(point - row))) for row in rows]
        point = mean(rows, weights / np.array(distances))
    return point


def clip(vector: Array, radius: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= radius else vector * (radius / length)


def centered_clipping(rows: Array, center: Array, radius: float, iterations: int) -> Array:
    for _ in range(iterations):
        pull = np.zeros_like(center)
        for row in rows:
            pull += clip(row - center, radius)
        center = center + pull / len(rows)
    return center


def norm_clipping(rows: Array, weights: Array, bound: float) -> Array:
    return mean(np.array([clip(row, bound) for row in rows]), weights)


def nearest_neighbor_mixing(rows: Array, byzantine: int) -> Array:
    mixed = []
    for i, row in enumerate(rows):
        others = [j for j in range(len(rows)) if j != i]
        others.sort(key=lambda j: (squared_distance(row, rows[j]), j))
        group = [i, *others[: len(rows) - byzantine - 1]]
        mixed.append(sum(rows[j] for j in group) / len(group))
    return np.array(mixed)


def bucket_means(rows: Array, order: Sequence[int], size: int) -> Array:
    means = []
    for start in range(0, len(order), size):
        bucket = order[start : start + size]
        means.append(sum(rows[i] for i in bucket) / len(bucket))
    return np.array(means)
