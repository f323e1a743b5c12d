"""Mean shift of numbers: against loops, and against scikit-learn where that finds a bandwidth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import MeanShift, estimate_bandwidth

from fedsim.meanshift import bandwidth, clusters, majority_centre, own_centres
from tests.strategies import romoa_scores_by_definition as slow

steady = settings(deadline=None, derandomize=True, max_examples=200)

Doubles = NDArray[np.float64]


@st.composite
def samples(draw: st.DrawFn) -> Doubles:
    """(n,) numbers of which not all are equal: even, in groups, or of a few values; some equal to others."""
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["even", "groups", "few"]))
    if kind == "even":
        values = draw(st.sampled_from([1, 1e-3, 1e3])) * rng.normal(size=n)
    elif kind == "groups":
        values = rng.choice(rng.uniform(-1, 1, draw(st.integers(1, 4))), n) + 0.01 * rng.normal(size=n)
    else:
        values = rng.choice(rng.normal(size=5), n)
    values[: draw(st.integers(0, n // 2))] = values[-1]
    assume(np.ptp(values) > 0)
    return values


def grouped(members: NDArray[np.int64]) -> list[list[int]]:
    """The places in each cluster."""
    return [np.flatnonzero(members == cluster).tolist() for cluster in range(members.max() + 1)]


@steady
@given(values=samples())
def test_bandwidth_by_definition(values: Doubles) -> None:
    assert bandwidth(values) == pytest.approx(slow.bandwidth_of(values.tolist()), rel=1e-12)


@steady
@given(values=samples(), part=st.floats(0.01, 1.5))
def test_clusters_by_definition(values: Doubles, part: float) -> None:
    before = values.copy()
    for width in (bandwidth(values), part * float(np.ptp(values))):
        assert grouped(clusters(values, width)) == slow.clusters(values.tolist(), width)
    assert values.tolist() == before.tolist(), "the input is not written to"


@steady
@given(values=samples())
def test_centres_by_definition(values: Doubles) -> None:
    listed, off = values.tolist(), 1e-12 * float(np.abs(values).max())
    np.testing.assert_allclose(own_centres(values), slow.own_centroids(listed), rtol=0, atol=off)
    assert majority_centre(values) == pytest.approx(slow.majority_centroids(listed)[0], rel=0, abs=off)


@pytest.mark.parametrize("seed", range(16))
def test_as_scikit_learn_finds_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=7 + 3 * seed) * rng.choice([1, 0.1])
    if seed % 2:
        values[: len(values) // 3] = 0.01 * rng.normal(size=len(values) // 3) - 1
    width = estimate_bandwidth(values[:, None], quantile=0.3)
    assert bandwidth(values) == pytest.approx(width, rel=1e-12)
    for some, wide in ((values, width), (values[:6], 0.5), (values[:3], 0.2), (values[:1], 1.0)):
        found = MeanShift(bandwidth=wide).fit(some[:, None])
        assert clusters(some, wide).tolist() == found.labels_.tolist()


@pytest.mark.parametrize("value", [0.0, 1 / 3, 0.1, -0.7, 1e300, 5e-324])
@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 50])
def test_equal_numbers_are_one_cluster(n: int, value: float) -> None:
    values = np.full(n, value)
    assert bandwidth(values) == 0
    assert clusters(values, 0.0).tolist() == [0] * n
    assert majority_centre(values) == pytest.approx(value)
    assert own_centres(values).tolist() == pytest.approx([value] * n)


@pytest.mark.parametrize("seed", range(10))
def test_equal_numbers_stay_together_however_small_the_width(seed: int) -> None:
    """Rounded, their mean may be none of them."""
    rng = np.random.default_rng(seed)
    values = rng.choice(rng.normal(size=5), 60)
    found = clusters(values, 1e-18)
    assert sorted(grouped(found)) == sorted(np.flatnonzero(values == value).tolist() for value in np.unique(values))


def test_few_numbers_by_hand() -> None:
    # Each is its own nearest neighbour, and the only one asked: half the least distance.
    assert bandwidth(np.array([1.0, 2])) == 0.5
    assert bandwidth(np.array([0.0, 8, 3, 2])) == 0.5
    assert bandwidth(np.array([1.0, 1, 1, 5, 9])) == 2
    assert own_centres(np.array([1.0, 5, 1, 9])).tolist() == [1, 5, 1, 9]
    # One half, three quarters, 9/8: at which both move to the middle.
    assert majority_centre(np.array([1.0, 2])) == 1.5
    assert majority_centre(np.array([1.0, 1, 1, 2])) == 1
    # Two and two: none has more than half until all gather.
    assert majority_centre(np.array([0.0, 0, 1, 1])) == 0.5
    # From 1/2 by halves to 81/32: 0 2 3 gather before 8 does.
    assert majority_centre(np.array([0.0, 8, 3, 2])) == pytest.approx(5 / 3)


def test_clusters_by_hand() -> None:
    # What is a whole width away is within it: around 1 lie all three.
    assert clusters(np.array([0.0, 1, 2]), 1.0).tolist() == [0, 0, 0]
    # Around 0 and around 3 lie two each. Of these the higher is first, and nearer to 2.
    assert clusters(np.array([0.0, 0, 3, 3, 2]), 0.5).tolist() == [1, 1, 0, 0, 2]
    assert clusters(np.array([0.0, 0, 3, 3, 2]), 1.5).tolist() == [1, 1, 0, 0, 0]


def test_seven_numbers_by_hand() -> None:
    # The nearest other of 0 1 3 6 10 15 21 is 1 1 2 3 4 5 6 off.
    values = np.array([0.0, 1, 3, 6, 10, 15, 21])
    assert bandwidth(values) == pytest.approx(22 / 7)


def test_numbers_that_differ_by_rounding_are_equal() -> None:
    values = np.array([0.1 + 0.2, 0.3, 0.3, 0.7])
    assert bandwidth(values) == pytest.approx(0.2)
    assert majority_centre(values) == pytest.approx(0.3)
    # All of the nearest six are equal to it: their mean distance is not nothing, but rounding.
    many = np.array([0.1 + 0.2, 0.3] * 5 + [0.1 + 0.6, 0.7] * 5)
    assert bandwidth(many) == pytest.approx(0.2)


@pytest.mark.parametrize("far", [-0.9, 0.2, 40.0])
@pytest.mark.parametrize(("n", "others"), [(3, 1), (5, 2), (10, 4), (21, 10), (100, 49)])
def test_a_far_minority_does_not_move_the_majoritys_centre(n: int, others: int, far: float) -> None:
    """Though it is in one place, and they are spread: clusters grow until one holds most."""
    values = np.random.default_rng(n).uniform(0.6, 0.8, n)
    values[:others] = far
    assert own_centres(values)[0] == pytest.approx(far), "the largest of the first clusters"
    assert 0.6 <= majority_centre(values) <= 0.8


def test_clusters_grow_by_halves_until_one_holds_most() -> None:
    values = np.array([0.0, 0, 0, 0, 1, 2, 3, 4, 5])
    width, tried = bandwidth(values), 0
    while np.bincount(clusters(values, width)).max() <= 4:
        width, tried = 1.5 * width, tried + 1
    assert tried > 0
    members = clusters(values, width)
    found = majority_centre(values)
    assert found == pytest.approx(values[members == np.bincount(members).argmax()].mean())


@steady
@given(values=samples(), seed=st.integers(0, 99))
def test_their_order_does_not_matter(values: Doubles, seed: int) -> None:
    order, off = np.random.default_rng(seed).permutation(len(values)), 1e-12 * float(np.abs(values).max())
    assert math.isclose(majority_centre(values[order]), majority_centre(values), rel_tol=0, abs_tol=off)
    np.testing.assert_allclose(own_centres(values[order]), own_centres(values)[order], rtol=0, atol=off)
