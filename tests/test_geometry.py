"""Inner products and distances of rows, against slow float64."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import compiled, geometry
from fedsim.geometry import column_chunks, gram, rough_gram, squared_distances, squared_distances_to, weighted_sum
from tests.loops import WAYS, working

steady = settings(deadline=None, derandomize=True, max_examples=60)


@pytest.fixture(params=WAYS, scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with working(request.param):
        yield request.param


@pytest.fixture(scope="module")
def exact(way: str) -> bool:
    """Whether distances are made of products in float64."""
    return not way.startswith("compiled")


@st.composite
def matrices(draw, most=9):
    """(n, d) float32: of several sizes, far from zero or not, with ties or without."""
    n, d = draw(st.integers(1, 7)), draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    offset, spread = draw(st.sampled_from([(0, 1), (100, 1e-2), (0, 1e-6), (-5, 1e4)]))
    rows = offset + spread * rng.normal(size=(n, d))
    if draw(st.booleans()):
        rows = rng.integers(-1, 2, (n, d))
    return torch.from_numpy(rows.astype(np.float32))


@st.composite
def assorted(draw):
    """(n, d) float32, n to 17: each row huge, tiny, ordinary, zero, an earlier one, or one a little off."""
    n, d = draw(st.integers(1, 17)), draw(st.sampled_from([1, 2, 17, 300, 2049, 5000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    common = draw(st.sampled_from([0.0, 1.0, 30.0])) * rng.normal(size=d)
    rows = common + rng.normal(size=(n, d))
    for i in range(n):
        kind = draw(st.sampled_from(["ordinary", "ordinary", "huge", "tiny", "zero", "constant", "same", "near"]))
        earlier = rows[draw(st.integers(0, i))]
        made = {
            "ordinary": rows[i],
            "huge": rows[i] * 10.0 ** draw(st.integers(2, 30)),
            "tiny": rows[i] * 10.0 ** -draw(st.integers(2, 35)),
            "zero": 0 * rows[i],
            "constant": np.full(d, 0.1 * draw(st.integers(1, 9))),
            "same": earlier,
            "near": earlier * (1 + 10.0 ** -draw(st.integers(1, 7)) * rng.normal(size=d)),
        }
        rows[i] = made[kind]
    return torch.from_numpy(rows.astype(np.float32))


def slow_distances(rows):
    wide = rows.double().numpy()
    return ((wide[:, None] - wide[None]) ** 2).sum(axis=2)


def cancelling(rows):
    """What a Gram matrix cannot tell apart in float64: rounding of the squared lengths."""
    return 1e-14 * max(1e-30, float(rows.double().pow(2).sum(dim=1).max())) * rows.shape[1]


@steady
@given(rows=matrices())
def test_squared_distances_by_definition(exact, rows):
    found = squared_distances(rows)
    assert found.dtype == torch.float64
    assert (found >= 0).all()
    assert (found.diagonal() == 0).all()
    assert torch.equal(found, found.T) or exact
    rtol = 1e-9 if exact else 1e-5
    np.testing.assert_allclose(found.numpy(), slow_distances(rows), rtol=rtol, atol=cancelling(rows))


@steady
@given(rows=assorted())
def test_squared_distances_of_whatever_is_sent(rows):
    lengths = rows.double().pow(2).sum(dim=1)
    found, expected = squared_distances(rows).numpy(), slow_distances(rows)
    # Never further off than a float64 Gram matrix is, and 3e-4 of the distance.
    floor = 1e-14 * (lengths[:, None] + lengths).numpy()
    assert (np.abs(found - expected) <= 3e-4 * expected + floor).all()


@steady
@given(rows=matrices())
def test_gram_by_definition(rows):
    wide = rows.double().numpy()
    expected = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in wide] for x in wide]
    scale = max(1e-30, float(np.abs(wide).max()) ** 2)
    np.testing.assert_allclose(gram(rows).numpy(), expected, rtol=1e-12, atol=1e-12 * scale)


def test_squared_distances_do_not_cancel_far_from_zero():
    """Rows near 100 with a spread of 0.01: float32 arithmetic loses all digits here."""
    rows = 100 + 1e-2 * torch.randn(6, 400, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(squared_distances(rows).numpy(), slow_distances(rows), rtol=1e-6)


def test_one_huge_row_does_not_spoil_the_others(exact):
    rows = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    for huge in (1e18, 1e30):
        rows[2] = huge
        rtol = 1e-9 if exact else 1e-5
        np.testing.assert_allclose(squared_distances(rows).numpy(), slow_distances(rows), rtol=rtol)


@pytest.mark.parametrize("size", [1e-19, 1e-21, 1e-30])
def test_squares_too_small_for_float32_are_not_lost(size):
    rows = size * torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(squared_distances(rows).numpy(), slow_distances(rows), rtol=1e-5)
    np.testing.assert_allclose(squared_distances_to(rows, rows[0]).numpy(), slow_distances(rows)[0], rtol=1e-5)


def test_a_few_that_nearly_agree_are_told_apart():
    """Two of many rows: so few that their distance is made anew by itself."""
    rows = torch.randn(12, 500, generator=torch.Generator().manual_seed(0))
    rows[7] = rows[3] * (1 + 1e-5)
    rows[9] = rows[4]
    found = squared_distances(rows)
    np.testing.assert_allclose(found.numpy(), slow_distances(rows), rtol=1e-5, atol=1e-12)
    assert found[7, 3] == found[3, 7] > 0


@pytest.mark.parametrize("level", [1.0, 0.1, 1 / 3])
def test_equal_entries_do_not_add_up_their_rounding(level):
    """The same product again and again is rounded the same way."""
    rows = torch.full((3, 100_000), level)
    rows[1] *= 1.2
    rows[2] *= -1
    np.testing.assert_allclose(squared_distances(rows).numpy(), slow_distances(rows), rtol=3e-4)


def test_rows_of_any_memory_are_read():
    wide = torch.randn(9, 40, generator=torch.Generator().manual_seed(0))
    for rows in (wide[:, 3:20], wide[2:7], wide[:, :30:3], wide.T, wide[:1].expand(4, 40), wide[::2, 1:]):
        expected = slow_distances(rows)
        np.testing.assert_allclose(squared_distances(rows).numpy(), expected, rtol=1e-5, atol=1e-12)
        np.testing.assert_allclose(gram(rows), (rows.double() @ rows.double().T).numpy(), rtol=1e-12, atol=1e-12)
        to_first = squared_distances_to(rows, rows[0])
        np.testing.assert_allclose(to_first.numpy(), expected[0], rtol=1e-5)


@steady
@given(rows=assorted())
def test_squared_distances_to_a_point_by_definition(exact, rows):
    point = rows[-1] / 2
    expected = ((rows.double() - point.double()) ** 2).sum(dim=1)
    np.testing.assert_allclose(
        squared_distances_to(rows, point).numpy(), expected.numpy(), rtol=1e-9 if exact else 1e-5
    )


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 20, 37])
def test_weighted_sum_by_definition(n):
    generator = torch.Generator().manual_seed(n)
    rows, weights = torch.randn(n, 700, generator=generator), torch.rand(n, generator=generator)
    weights[::3] = 0
    before = rows.clone()
    found, expected = weighted_sum(rows, weights), weights.double() @ rows.double()
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(weighted_sum(rows[:, 3:9], weights.double()), expected[3:9].numpy(), rtol=0, atol=1e-5)
    assert torch.equal(rows, before), "the input is not written to"


def test_weighted_sum_of_nothing_is_zero():
    assert weighted_sum(torch.ones(3, 50), torch.zeros(3)).tolist() == [0] * 50


@pytest.mark.parametrize(
    ("kind", "nothing"), [(torch.float32, 0.0), (torch.float32, -0.0), (torch.float32, 1e-60), (torch.float64, 0.0)]
)
def test_rows_that_weigh_nothing_may_be_anything(kind, nothing):
    rows = torch.randn(12, 700, generator=torch.Generator().manual_seed(0)).to(kind)
    weights = torch.linspace(-1, 2, 12, dtype=torch.float64)
    weights[[0, 3, 11]] = nothing
    expected = weights @ rows.double()
    rows[0, 5], rows[3, 100:200], rows[11] = torch.inf, torch.nan, -3e38
    found = weighted_sum(rows, weights)
    assert found.dtype == kind
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=0, atol=1e-5)
    weights[3] = 0.5
    assert weighted_sum(rows, weights).isnan().tolist() == [100 <= at < 200 for at in range(700)]


def test_rough_products_are_within_what_distances_allow(exact):
    if exact:
        pytest.skip("for compiled loops")
    rows = torch.rand(6, 30_000, generator=torch.Generator().manual_seed(0))
    expected = gram(rows).numpy()
    assert (np.abs(rough_gram(rows) - expected) < 1e-2 * geometry._RESOLVED * 1e-3 * expected.max()).all()


@steady
@given(st.integers(0, 12), st.integers(0, 60))
def test_chunks_cover_the_columns_in_order(rows, columns):
    chunks = list(column_chunks(rows, columns))
    assert [column for chunk in chunks for column in range(chunk.start, chunk.stop)] == list(range(columns))
    assert all((chunk.stop - chunk.start) * rows <= max(geometry._CHUNK, rows) for chunk in chunks)


def test_compiled_loops_are_for_many_float32_numbers(exact, monkeypatch):
    if exact:
        pytest.skip("for compiled loops")
    monkeypatch.setattr(compiled, "_WORTH", 20)
    assert compiled.suits(torch.zeros(4, 5))
    assert not compiled.suits(torch.zeros(4, 4))
    assert not compiled.suits(torch.zeros(4, 5, dtype=torch.float64))
    assert not compiled.suits(torch.zeros(4, 5, device="meta"))
