"""Which entries are among the largest of any of several vectors, against sorting each; and the moments beside."""

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

from fedsim import largest
from fedsim.largest import moments_and_largest
from fedsim.likeness import moments
from tests.loops import WAYS, working

steady = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.fixture(params=WAYS, scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with working(request.param):
        yield request.param


class Case(NamedTuple):
    """Rows (n, d) on a base (d,), of which the count largest are sought, and where their tensors begin and end."""

    rows: NDArray[np.float32]
    base: NDArray[np.float32]
    count: int
    edges: NDArray[np.int64]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Rows with ties or without, evenly or unevenly large, huge, or not finite; and tensors, some of them empty."""
    n, d = draw(st.integers(1, 8)), draw(st.sampled_from([1, 2, 7, 40, 511, 1500, 4099]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, base = rng.normal(size=(n, d)), draw(st.sampled_from([0, 0.1, 3])) * rng.normal(size=d)
    kind = draw(st.sampled_from(["ordinary", "ties", "uneven", "alike", "huge", "not finite"]))
    if kind == "ties":
        rows, base = rng.integers(-2, 3, (n, d)), base.round()
    elif kind == "uneven":
        rows[:, d // 3 : d // 2] *= 100
    elif kind == "alike":
        rows, base = np.full((n, d), 0.1), 0 * base
    elif kind == "huge":
        rows[:, rng.integers(d, size=3)], base[rng.integers(d)] = 3e38, 3e38
    elif kind == "not finite":
        rows[rng.integers(n), rng.integers(d)] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    count = draw(st.sampled_from([1, d, -(-d // n), -(-d // 10), int(rng.integers(1, d + 1))]))
    edges = np.array([0, *sorted(rng.integers(0, d + 1, draw(st.integers(0, 4)))), d])
    return Case(rows.astype(np.float32), base.astype(np.float32), count, edges)


def slow_largest(rows: NDArray[np.floating], base: NDArray[np.floating], count: int) -> list[bool]:
    marked = [False] * len(base)
    for row in rows:
        if np.isfinite(row).all():
            with np.errstate(over="ignore"):
                sizes = np.abs(base + row).tolist()
            for at in sorted(range(len(base)), key=lambda k: (-sizes[k], k))[:count]:
                marked[at] = True
    return marked


def found_largest(rows: torch.Tensor, base: torch.Tensor, count: int) -> list[bool]:
    marked = moments_and_largest(rows, base, count, np.array([0, rows.shape[1]]))[1]
    assert marked.dtype == torch.bool
    return marked.tolist()


@pytest.mark.filterwarnings("ignore:overflow")
@steady
@given(case=cases())
def test_largest_by_definition(case: Case) -> None:
    # Seven entries lie between one row and the next.
    wide = np.pad(case.rows, ((0, 0), (3, 4)), constant_values=9)
    rows, base, before = torch.from_numpy(wide)[:, 3:-4], torch.from_numpy(case.base.copy()), wide.copy()
    _, marked = moments_and_largest(rows, base, case.count, case.edges)
    assert marked.tolist() == slow_largest(case.rows, case.base, case.count)
    assert np.array_equal(wide, before, equal_nan=True), "the input is not written to"
    assert np.array_equal(base.numpy(), case.base), "nor the base"


@pytest.mark.filterwarnings("ignore:overflow")
@steady
@given(case=cases())
def test_moments_by_definition(case: Case) -> None:
    rows, finite = torch.from_numpy(case.rows), np.isfinite(case.rows).all(axis=1)
    beside, _ = moments_and_largest(rows, torch.from_numpy(case.base), case.count, case.edges)
    wide = case.rows.astype(np.float64)
    for found in (beside, moments(rows, case.edges)):
        assert (np.isfinite(found.lengths) == finite).all()
        assert found.sizes.tolist() == np.diff(case.edges).tolist()
        for tensor, (first, last) in enumerate(pairwise(case.edges)):
            part = wide[finite, first:last]
            # Entries of both signs cancel in sums.
            off = np.abs(found.sums[finite, tensor] - part.sum(axis=1))
            assert (off <= 1e-12 * np.abs(part).sum(axis=1)).all()
            np.testing.assert_allclose(found.squares[finite, tensor], (part**2).sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found.lengths[finite], np.linalg.norm(wide[finite], axis=1), rtol=1e-12)


def test_largest_by_hand() -> None:
    rows, base = torch.tensor([[3.0, -1, 0, 0], [0, 0, -5, 0]]), torch.tensor([-3.0, 0, 0, 2])
    # Base and row: 0 -1 0 2, and -3 0 -5 2.
    assert found_largest(rows, base, 1) == [False, False, True, True]
    assert found_largest(rows[:1], base, 2) == [False, True, False, True]
    assert found_largest(rows[:1], base, 3) == [True, True, False, True], "of two zeros the first"
    assert found_largest(rows, base, 4) == [True] * 4


@pytest.mark.parametrize("count", [1, 64, 500, 1999])
def test_of_equal_sizes_the_first_are_taken(count: int) -> None:
    rows = torch.ones(3, 2000)
    rows[1, ::2] = -1
    rows[2, 1000:] = 0
    expected = torch.arange(2000) < count
    assert found_largest(rows, torch.zeros(2000), count) == expected.tolist()


@pytest.mark.parametrize("count", [100, 128, 600])
@pytest.mark.parametrize("places", [slice(0, None, 4), slice(1, None, 2), slice(0, 300), slice(3500, None)])
def test_wherever_the_large_ones_stand(count: int, places: slice) -> None:
    """A guess at how large they are, from some of the entries, may be far too high or far too low."""
    generator = torch.Generator().manual_seed(count)
    rows, base = torch.randn(5, 4000, generator=generator), torch.randn(4000, generator=generator)
    rows[1::2, places] *= 1000
    assert found_largest(rows, base, count) == slow_largest(rows.numpy(), base.numpy(), count)


@pytest.mark.parametrize("offset", [0.0, 2.0, -2.0])
def test_ordinary_rows_are_read_once(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    """The guess is good enough to find them among what it lets through."""
    monkeypatch.setattr(largest, "_everything", lambda *_: pytest.fail("a row is read anew"))
    rows = torch.randn(6, 30_000, generator=torch.Generator().manual_seed(0))
    base = torch.full((30_000,), offset)
    for count in (300, 5000):
        assert found_largest(rows, base, count) == slow_largest(rows.numpy(), base.numpy(), count)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_that_are_not_finite_select_nothing(count: int) -> None:
    nan, inf = float("nan"), float("inf")
    rows, base = torch.tensor([[nan, 9, 8], [1, 2, 4], [5, -inf, 7], [8, 6, inf]]), torch.tensor([0.0, 1, 0])
    for some in (rows, rows[:2], rows[[2, 1]]):
        assert found_largest(some, base, count) == found_largest(rows[1:2], base, count)
    assert found_largest(rows[[0, 2, 3]], base, count) == [False] * 3
    assert found_largest(rows[:0], base, count) == [False] * 3


@pytest.mark.filterwarnings("ignore:overflow")
def test_what_overflows_on_the_base_is_large() -> None:
    rows, base = torch.tensor([[1.0, 3e38, -3e38, 2]]), torch.tensor([0.0, 3e38, -3e38, 0])
    assert found_largest(rows, base, 1) == [False, True, False, False]
    assert found_largest(rows, base, 3) == [False, True, True, True]


def test_float64_is_read_as_such() -> None:
    rows = 1 + 1e-12 * torch.randn(4, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows[3] = 1e30
    expected = slow_largest(rows.numpy(), np.zeros(50), 3)
    assert sum(expected) > 8
    # The base may be of another kind.
    assert found_largest(rows, torch.zeros(50), 3) == expected
    found, _ = moments_and_largest(rows, torch.zeros(50), 3, np.array([0, 50]))
    np.testing.assert_allclose(found.squares[:, 0], (rows.numpy() ** 2).sum(axis=1), rtol=1e-14)
    single, base = torch.tensor([[0.0, 0, 1]]), torch.tensor([1 + 1e-12, 1 + 2e-12, 0], dtype=torch.float64)
    assert found_largest(single, base, 1) == [True, False, False], "in the rows' kind the three are equal"


def test_rows_of_any_memory_are_read() -> None:
    wide = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    for rows in (wide[:, 3:20], wide[2:7], wide[:, :30:3], wide.T, wide[:1].expand(4, 40), wide[::2, 1:]):
        for base in (wide[0, : rows.shape[1]], wide.T.reshape(-1)[: 2 * rows.shape[1] : 2]):
            for count in (1, rows.shape[1] // 2):
                assert found_largest(rows, base, count) == slow_largest(rows.numpy(), base.numpy(), count)
