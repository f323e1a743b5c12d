"""What a colluder of Romoa's clients reckons with at an upload."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.romoa.adaptive.plane import Plane
from experiments.romoa.adaptive.walking import Walk
from fedsim.domain import View
from fedsim.largest import moments_and_largest
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from experiments.romoa.adaptive.plane import Doubles, Places


@dataclass(frozen=True)
class Sight:
    """The honest uploads, or the colluders' own where those are not seen, and what Romoa makes of their lengths.

    Fields:
        honest: (h, d).
        others: how many honest clients there are.
        mean: (d,) of the honest uploads as they are clipped.
        bound: the length to which uploads are clipped when all colluders' are longer than most; 0 where most are 0.
        edges: (L + 1,) where tensors begin, and where the last one ends.
    """

    honest: Doubles
    others: int
    mean: Doubles
    bound: float
    edges: Places

    @classmethod
    def of(cls, view: View) -> Sight:
        """What a view shows; uploads that are not finite, as Romoa has it, are not there."""
        seen = view.seen[view.seen.isfinite().all(dim=1)].double().cpu().numpy()
        f = len(view.own)
        others = view.n - f if view.honest is None else len(seen)
        lengths = np.linalg.norm(seen, axis=1)
        # The median's place among all n, of whom f are longer, as a place among the honest alone.
        bound = float(np.quantile(lengths, (others + f - 1) / 2 / (others - 1))) if others > f and len(seen) else 0.0
        scales = np.minimum(1, bound / lengths.clip(min=1e-30))
        spans = [span for span in view.layout.slices if span.stop <= view.layout.weights]
        edges = np.array([0, *(span.stop for span in spans)])
        mean = (seen * scales[:, None]).mean(axis=0) if len(seen) else np.zeros(edges[-1])
        return cls(seen, others, mean, bound, edges)

    @property
    def sent(self) -> float:
        """The length at which to send, so that exactly ``bound`` is left of it: that of the longest honest upload."""
        return float(np.linalg.norm(self.honest, axis=1).max())


def disguised(view: View, toward: Tensor, rng: Generator, quantile: float = 0.5, below: float = 0.0) -> Tensor:
    """(f, d) rows as far ``toward`` (d,) as leaves their measures at the honest clients' quantile, less ``below``.

    The rows have a say in which entries are selected. They are found for the selection of all honest uploads, and
    corrected once for their own: S is as wanted but for what that changes in the selection again. Where no such rows
    are found the colluders are honest.
    """
    sight, f = Sight.of(view), len(view.own)
    if sight.bound == 0:
        return view.own.clone()
    harm, crafted = toward.double().cpu().numpy(), view.own
    seed, found = int(rng.integers(2**63)), None
    for _ in range(2):
        rows = torch.cat([view.seen, crafted])
        count = math.ceil(len(view.params) / (sight.others + f))
        _, selected = moments_and_largest(rows, view.params, count, sight.edges)
        # The same noise again: the correction is to be a small one.
        drawn = np.random.default_rng(seed)
        marks = selected.cpu().numpy()
        plane = Plane.of(sight.honest, sight.mean, sight.others, harm, f, marks, sight.edges, drawn)
        walk = Walk(plane, sight.bound, quantile, below)
        found = walk.farthest() if found is None else walk.near(found)
        if found is None:
            return crafted.clone()
        crafted = torch.from_numpy(plane.rows(found) * (sight.sent / sight.bound)).to(view.own)
    return crafted
