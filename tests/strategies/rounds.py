"""Rounds to aggregate: built by hand, or drawn by Hypothesis with ties and without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fedsim.domain import Aggregate, Aggregator, Layout, Memory, Updates

steady = settings(deadline=None, derandomize=True, max_examples=40)
"""The same examples on every run and every machine."""


def updates(
    rows: Sequence[Sequence[float]] | NDArray[np.float64],
    weights: Sequence[float] | NDArray[np.float64] | None = None,
) -> Updates:
    """A round of clients 0 to n - 1, in float32; equal weights unless said."""
    deltas = torch.from_numpy(np.asarray(rows, dtype=np.float32).copy())
    says = np.ones(len(deltas)) if weights is None else weights
    return Updates(deltas, torch.tensor(np.asarray(says), dtype=torch.float32), torch.arange(len(deltas)))


def flat(d: int) -> Layout:
    """The layout of one tensor of d weights."""
    return Layout(("weight",), ((d,),), d)


def apply(rule: Aggregator, round_: Updates, memory: Memory | None = None) -> Aggregate:
    """One round, the first unless a memory is given."""
    start = rule.init(flat(round_.deltas.shape[1])) if memory is None else memory
    return rule(round_, start)


def numbers(*values: float) -> list[list[float]]:
    """Uploads of one parameter each."""
    return [[value] for value in values]


def close(result: Tensor, expected: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
    """Agree to 1e-4 of the largest entry of the round."""
    scale = max(1e-30, float(np.abs(rows).max()))
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=0, atol=1e-4 * scale)


@dataclass(frozen=True)
class Drawn:
    """A round drawn by Hypothesis, as float64 arrays that float32 holds exactly."""

    rows: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def updates(self) -> Updates:
        return updates(self.rows, self.weights)


@st.composite
def rounds(draw: st.DrawFn, least: int = 1, more: int = 6, ties: bool = True) -> Drawn:
    """From ``least`` to ``least + more`` rows of 1 to 5 values; small whole numbers, or normal ones."""
    n, d = draw(st.integers(least, least + more)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if ties and draw(st.booleans()):
        rows = rng.integers(-2, 3, (n, d)).astype(np.float64)
    else:
        scale = draw(st.sampled_from([1e-3, 1.0, 1e3]))
        rows = (scale * rng.normal(size=(n, d))).astype(np.float32).astype(np.float64)
    return Drawn(rows, rng.integers(1, 9, n).astype(np.float64))
