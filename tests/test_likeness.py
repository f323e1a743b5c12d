"""How rows point with a reference, against slow float64; and the sums of rows that it may be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim.likeness import Likeness, likeness, moments, sum_of
from tests.loops import WAYS, working

# What is not finite is no reason to warn.
pytestmark = pytest.mark.filterwarnings("error")
steady = settings(deadline=None, derandomize=True, max_examples=60)
nan, inf = float("nan"), float("inf")

Doubles = NDArray[np.float64]
Places = NDArray[np.int64]

_BLURRED = 1e-12
"""The variance, in parts of the mean square, that counts as none."""


@pytest.fixture(params=WAYS, scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with working(request.param):
        yield request.param


class Case(NamedTuple):
    """Rows (n, d), a reference (d,), marked entries (d,), and where tensors begin and end."""

    rows: torch.Tensor
    reference: torch.Tensor
    marked: torch.Tensor
    edges: Places


def vector(kind: str, d: int, rng: np.random.Generator) -> Doubles:
    sizes = {"ordinary": 1.0, "far": 1.0, "huge": 1e30, "tiny": 1e-30, "constant": 0.0, "zero": 0.0}
    offsets = {"far": 3e3, "constant": 0.1}
    return offsets.get(kind, 0.0) + sizes[kind] * rng.normal(size=d)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Rows ordinary, huge, tiny, zero, constant, or far from zero, by tensors; of these some empty, some one entry."""
    n, d = draw(st.integers(1, 7)), draw(st.sampled_from([1, 2, 5, 40, 600, 2500]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    edges = np.array([0, *sorted(rng.integers(0, d + 1, draw(st.integers(0, 4)))), d])
    kinds = st.sampled_from(["ordinary", "ordinary", "far", "huge", "tiny", "constant", "zero"])
    wide = np.zeros((n + 1, d + 5))
    for row in wide:
        for first, last in pairwise(edges):
            row[first:last] = vector(draw(kinds), last - first, rng)
    rows = torch.from_numpy(wide.astype(draw(st.sampled_from([np.float32, np.float32, np.float64]))))[:, :d]
    marked = rng.random(d) < draw(st.sampled_from([0, 0.1, 0.5, 1]))
    return Case(rows[:-1], rows[-1], torch.from_numpy(marked), edges)


def slow_cosine(one: Doubles, other: Doubles) -> float:
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    return float((one / lengths[0]) @ (other / lengths[1])) if min(lengths) > 0 else 0.0


def varies(part: Doubles) -> bool:
    return len(part) > 0 and bool(part.var() > _BLURRED * (part**2).mean())


def certainty(part: Doubles) -> float:
    """What part of the mean square the variance is: so much less is known of it than of the squares."""
    return float(part.var() / (part**2).mean())


def of(case: Case) -> Likeness:
    return likeness(case.rows, moments(case.rows, case.edges), case.reference, case.marked, case.edges)


@steady
@given(case=cases())
def test_cosines_by_definition(case: Case) -> None:
    found, marked = of(case), case.marked.numpy()
    wide, reference = case.rows.double().numpy(), case.reference.double().numpy()
    for i, row in enumerate(wide):
        assert found.there[i] == pytest.approx(slow_cosine(row[marked], reference[marked]), abs=1e-12)
        for tensor, (first, last) in enumerate(pairwise(case.edges)):
            expected = slow_cosine(row[first:last], reference[first:last])
            assert found.cosines[i, tensor] == pytest.approx(expected, abs=1e-12)


@steady
@given(case=cases())
def test_correlations_by_definition(case: Case) -> None:
    found = of(case)
    wide, reference = case.rows.double().numpy(), case.reference.double().numpy()
    for i, row in enumerate(wide):
        for tensor, (first, last) in enumerate(pairwise(case.edges)):
            one, other = row[first:last], reference[first:last]
            if varies(one) and varies(other):
                expected = slow_cosine(one - one.mean(), other - other.mean())
                blur = 1e-14 / min(certainty(one), certainty(other))
                assert found.correlations[i, tensor] == pytest.approx(expected, abs=blur)
                assert found.scales[i, tensor] == pytest.approx(one.std() * other.std(), rel=blur)
            else:
                assert found.correlations[i, tensor] == found.scales[i, tensor] == 0


def test_by_hand() -> None:
    rows = torch.tensor([[3.0, 4, 1, 2, 3], [0, 0, 3, 2, 1], [4, -3, 5, 5, 5]])
    reference, edges = torch.tensor([3.0, 4, 2, 4, 6]), np.array([0, 2, 2, 5])
    found = of(Case(rows, reference, torch.tensor([True, False, True, False, False]), edges))
    # In the second tensor lies nothing. In the third all of the last row are equal.
    np.testing.assert_allclose(found.cosines[:, :2], [[1, 0], [0, 0], [0, 0]], atol=1e-15)
    np.testing.assert_allclose(found.cosines[:, 2], [1, 20 / 28, 60 / (75 * 56) ** 0.5])
    np.testing.assert_allclose(found.correlations, [[1, 0, 1], [0, 0, -1], [-1, 0, 0]], atol=1e-15)
    # Standard deviations: 1/2, nothing and 7/2 with 1/2; the root of 2/3 twice with that of 8/3, and nothing.
    np.testing.assert_allclose(found.scales, [[1 / 4, 0, 4 / 3], [0, 0, 4 / 3], [7 / 4, 0, 0]], atol=1e-15)
    # Where marked: 3 1, 0 3 and 4 5, with 3 2.
    np.testing.assert_allclose(found.there, [11 / 130**0.5, 6 / (9 * 13) ** 0.5, 22 / (41 * 13) ** 0.5])


@pytest.mark.parametrize("level", [1.0, 0.1, 1 / 3, -7e-5, 3e38, 1e-40])
def test_equal_entries_do_not_vary(way: str, level: float) -> None:
    """However many: their rounding adds up, but to nothing that counts."""
    d = 2000 if way == "many chunks" else 300_000
    rows = torch.full((2, d), level)
    rows[1] = torch.randn(d, generator=torch.Generator().manual_seed(0))
    edges = np.array([0, d - 17, d])
    assert (moments(rows, edges).spreads[0] == 0).all()
    for reference in rows:
        found = of(Case(rows, reference, torch.ones(d, dtype=torch.bool), edges))
        assert (found.correlations[0] == 0).all()
        assert (found.scales[0] == 0).all()
        assert found.there.max() == pytest.approx(1)


def test_spreads_do_not_cancel_far_from_zero() -> None:
    """Rows near 1000 that differ by 1 from there: in float32 their squares differ by rounding alone."""
    noise = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    rows, reference = 1000 + noise, noise[0] - 1000
    edges = np.array([0, 5000])
    wide = rows.double().numpy()
    found = of(Case(rows, reference, torch.zeros(5000, dtype=torch.bool), edges))
    np.testing.assert_allclose(moments(rows, edges).spreads[:, 0], wide.var(axis=1) * 5000, rtol=1e-8)
    expected = np.corrcoef(wide, reference.double().numpy())[-1, :-1]
    np.testing.assert_allclose(found.correlations[:, 0], expected, rtol=0, atol=1e-8)
    assert found.correlations[0, 0] > 0.999
    assert found.cosines.max() < -0.999
    assert found.there.tolist() == [0] * 3, "nothing is marked"


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_lengths_do_not_matter(scale: float) -> None:
    """Also where their squares are beyond float32."""
    rows = torch.randn(4, 700, generator=torch.Generator().manual_seed(0))
    marked, edges = rows[0] > 0, np.array([0, 300, 700])
    found = of(Case(rows * scale, rows[3] * scale, marked, edges))
    expected = of(Case(rows, rows[3], marked, edges))
    for measure in ("there", "cosines", "correlations"):
        np.testing.assert_allclose(getattr(found, measure), getattr(expected, measure), atol=1e-6)
    assert found.there[3] == pytest.approx(1)
    assert (found.scales > 0).all()


def test_rows_that_are_not_finite_do_not_touch_the_others() -> None:
    rows = torch.randn(6, 700, generator=torch.Generator().manual_seed(0))
    marked, edges, reference = rows[0] > 0, np.array([0, 300, 700]), rows[5].clone()
    expected = of(Case(rows[3:], reference, marked, edges))
    rows[0, 0], rows[1, 699], rows[2, 100:200] = nan, inf, -inf
    found, own = of(Case(rows, reference, marked, edges)), moments(rows, edges)
    assert np.isfinite(own.lengths).tolist() == [False] * 3 + [True] * 3
    for measure, others in vars(expected).items():
        np.testing.assert_allclose(getattr(found, measure)[3:], others, rtol=1e-9, atol=1e-12)


def test_of_no_rows() -> None:
    found = of(Case(torch.zeros(0, 6), torch.ones(6), torch.ones(6, dtype=torch.bool), np.array([0, 2, 6])))
    assert found.there.shape == (0,)
    assert found.cosines.shape == found.correlations.shape == found.scales.shape == (0, 2)


def test_rows_of_any_memory_are_read() -> None:
    wide = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    for rows in (wide[:, 3:20], wide[2:7], wide[:, :30:3], wide.T, wide[:1].expand(4, 40), wide[::2, 1:]):
        d = rows.shape[1]
        edges = np.array([0, d // 3, d])
        reference, marked = wide.reshape(-1)[: 2 * d : 2], (wide > 0).reshape(-1)[: 3 * d : 3]
        found = of(Case(rows, reference, marked, edges))
        expected = of(Case(rows.double(), reference.double(), marked.clone(), edges))
        for measure, values in vars(expected).items():
            np.testing.assert_allclose(getattr(found, measure), values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [[0.5, 0, 2, 0, -1, 0.25], [1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 3], [0] * 6])
def test_sum_of_rows_by_definition(weights: list[float], kind: torch.dtype) -> None:
    rows = torch.randn(6, 700, generator=torch.Generator().manual_seed(0)).to(kind)
    factors = np.array(weights, dtype=np.float64)
    expected = factors @ rows.double().numpy()
    rows[factors == 0] = torch.tensor([nan, inf, -inf, 3e38]).repeat(175).to(kind)
    before = rows.clone()
    found = sum_of(rows, factors)
    assert found.dtype == kind
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-5 if kind == torch.float32 else 1e-14)
    assert torch.equal(rows.nan_to_num(), before.nan_to_num()), "the input is not written to"
    assert factors.tolist() == weights
