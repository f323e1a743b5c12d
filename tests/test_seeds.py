"""Streams: equal for equal paths, different for all others, and nothing global is touched."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.seeds import stream, torch_stream

steady = settings(deadline=None, derandomize=True, max_examples=60)
PATHS = st.lists(st.one_of(st.integers(-3, 300), st.text(max_size=4)), max_size=4).map(tuple)


def draws(seed, *path):
    return stream(seed, *path).integers(2**63, size=4).tolist()


@steady
@given(st.integers(0, 2**70), PATHS)
def test_same_path_same_draws(seed, path):
    assert draws(seed, *path) == draws(seed, *path)


@steady
@given(st.tuples(st.integers(0, 3), PATHS), st.tuples(st.integers(0, 3), PATHS))
def test_other_path_other_draws(one, other):
    assert (draws(one[0], *one[1]) == draws(other[0], *other[1])) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 1), (0, "1")),
        ((0, "a", "b"), (0, "ab")),
        ((0, "a", "b"), (0, "a', 'b")),
        ((0, "a", "b"), (0, "b", "a")),
        ((0, 1, 23), (0, 12, 3)),
        ((0, 1), (1, 0)),
        ((0,), (0, "")),
    ],
)
def test_paths_that_look_alike_differ(one, other):
    assert draws(*one) != draws(*other)


def test_draws_do_not_change_between_versions():
    """A run's figures follow from its configuration: these two numbers must never change."""
    assert draws(7, "round", 12, "client", 4)[:2] == [7217692778708812513, 8251839144756951953]


def test_a_number_of_numpys_counts_as_itself():
    assert draws(np.int64(3), "client", np.int32(5)) == draws(3, "client", 5)


def test_refuses_a_number_that_is_not_whole():
    with pytest.raises(TypeError):
        stream(0, 1.5)


def test_draws_are_spread_evenly():
    """The first draw of many streams is itself uniform."""
    first = np.array([stream(0, "client", client).random() for client in range(2000)])
    counts, _ = np.histogram(first, bins=10, range=(0, 1))
    assert counts == pytest.approx([200] * 10, abs=4 * 180**0.5)


def test_no_global_state_is_touched():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    stream(0, "a").normal(size=3)
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def seeded(seed, *path):
    with torch_stream(seed, *path):
        return torch.rand(5)


def test_torch_stream_gives_the_same_draws_whatever_came_before():
    torch.manual_seed(1)
    first = seeded(0, "model")
    torch.rand(3)
    assert torch.equal(seeded(0, "model"), first)
    assert not torch.equal(seeded(1, "model"), first)
    assert not torch.equal(seeded(0, "noise"), first)


def test_torch_stream_puts_back_what_was():
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    seeded(0, "model")
    assert torch.equal(torch.rand(4), expected)


def test_torch_stream_puts_back_what_was_after_an_error():
    before = torch.get_rng_state()

    def failing():
        with torch_stream(0, "model"):
            torch.rand(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert torch.equal(torch.get_rng_state(), before)


def test_torch_streams_nest():
    with torch_stream(0, "outer"):
        expected = torch.rand(2), torch.rand(2)
    with torch_stream(0, "outer"):
        first = torch.rand(2)
        seeded(0, "inner")
        second = torch.rand(2)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])
