"""How Romoa turns what it measures of clients into their shares, in each of the ways its paper can be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedsim.likeness import Likeness
from fedsim.meanshift import majority_centre, own_centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]

_FEWEST = 3
"""Entries of a tensor from which their correlation says anything."""


@dataclass(frozen=True)
class Reading:
    """How the paper is read: a choice for each of Romoa's settings of the same name."""

    clip: float
    reference: Literal["clipped", "mean"]
    centroid: Literal["majority", "own"]
    deviation: Literal["two-sided", "signed"]
    temperature: float
    gate: bool
    pattern: Literal["pearson", "printed"]


READINGS = {
    "robust": Reading(1.0, "clipped", "majority", "two-sided", 0.1, True, "pearson"),
    "paper": Reading(math.inf, "mean", "majority", "two-sided", 0.1, True, "pearson"),
    "literal": Reading(math.inf, "mean", "own", "signed", 1.0, False, "printed"),
}


def measures(alike: Likeness, sizes: Doubles, reading: Reading) -> Doubles:
    """(n, L, 3) of each client and tensor: S, the same in all tensors; C; and P, nan in tensors too small for it.

    Fields:
        sizes: (L,) entries of each tensor.
    """
    pattern = alike.correlations
    if reading.pattern == "printed":
        varying = alike.scales > 0
        pattern = np.divide(alike.cosines, alike.scales, out=np.zeros_like(pattern), where=varying)
    pattern = np.where(sizes < _FEWEST, np.nan, pattern)
    there = np.broadcast_to(alike.there[:, None], pattern.shape)
    return np.stack([there, alike.cosines, pattern], axis=2)


def shares_of(seen: Doubles, reading: Reading) -> Doubles:
    """(n, L, 2) s of selected entries and of the others, summing to one over clients, from measures (n, L, 3)."""
    similarity = _deviation(seen[:, 0, 0], reading)[:, None]
    # What was not measured is no evidence.
    layers = np.full_like(seen[:, :, 1:], np.inf)
    for tensor, measure in np.argwhere(~np.isnan(seen[0, :, 1:])):
        layers[:, tensor, measure] = _deviation(seen[:, tensor, 1 + measure], reading)
    lowest = layers.min(axis=2)
    evidence = np.stack([np.minimum(similarity, lowest), np.minimum(0, lowest)], axis=2)
    weights = np.exp(evidence - evidence.max(axis=0))
    shares: Doubles = weights / weights.sum(axis=0)
    return shares


def _deviation(measure: Doubles, reading: Reading) -> Doubles:
    """(n,) f of a measure (n,) of clients."""
    centre = majority_centre(measure) if reading.centroid == "majority" else own_centres(measure)
    apart: Doubles = (measure - centre) / reading.temperature
    return -np.abs(apart) if reading.deviation == "two-sided" else apart
