"""Two-dimensional points labelled by whether they lie outside a circle."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

from fedsim.domain import Dataset, PositiveCount
from fedsim.lazy import torch
from fedsim.seeds import stream
from fedsim.tables import Settings

if TYPE_CHECKING:
    from numpy.random import Generator

_RADIUS = {"paper": 2.0, "sinha": sqrt(2)}
_GAP = {"paper": 1.0, "sinha": 1.3}
"""Points between radius / gap and radius * gap are left out; 1 leaves out none."""


@dataclass(frozen=True)
class Shell(Settings):
    """Points x ~ N(0, I_2) labelled 1 outside a circle and 0 inside: the synthetic task of the DRFL paper.

    Inputs are (2,) and not confined to [0, 1].

    Fields:
        variant: "paper": radius 2; one point in seven (exp(-2) = 0.135) is outside. "sinha": radius sqrt 2;
            points with |x| between sqrt 2 / 1.3 and 1.3 sqrt 2 are left out and drawn anew.
        train, test: samples.
    Source: Shen et al., "Learning to Attack Distributionally Robust Federated Learning", Sec. 4 ("paper");
        Sinha et al., ICLR 2018, Sec. 4.1 ("sinha").
    Differs from: both, which label -1 and 1.
    """

    variant: Literal["paper", "sinha"] = "paper"
    train: PositiveCount = 50000
    test: PositiveCount = 10000

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """Training and test set, from two streams of ``seed``; fewer samples are the first of more."""
        return (
            self._draw(self.train, stream(seed, "data", "train")),
            self._draw(self.test, stream(seed, "data", "test")),
        )

    def _draw(self, count: int, rng: Generator) -> Dataset:
        radius, gap = _RADIUS[self.variant], _GAP[self.variant]
        points = np.empty((0, 2), dtype=np.float32)
        while len(points) < count:
            drawn = rng.standard_normal((count, 2)).astype(np.float32)
            norms = np.linalg.norm(drawn.astype(np.float64), axis=1)
            points = np.concatenate([points, drawn[(norms <= radius / gap) | (norms >= radius * gap)]])
        points = points[:count].copy()
        labels = np.linalg.norm(points.astype(np.float64), axis=1) > radius
        return Dataset(torch.from_numpy(points), torch.from_numpy(labels.astype(np.int64)), 2)
