"""Mimic: by hand, by definition, by promise, by refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import refusal_of, rng, steady, view

from clients.mimic import Mimic
from fedsim.domain import Updates
from strategies import Mean


def test_copies_its_victim():
    forged = Mimic(victim=1)(view([[9, 9], [8, 8]], [[1, 2], [3, 4], [5, 6]]), rng())
    assert forged.tolist() == [[3, 4], [3, 4]]


def test_copies_the_one_furthest_out_by_hand():
    # mean (2, 1); they vary along the first entry: offsets -2, 1, -3, 4
    forged = Mimic()(view([[9, 9]], [[0, 1], [3, 1], [-1, 1], [6, 1]]), rng())
    assert forged.tolist() == [[6, 1]]


def test_either_way_counts():
    # offsets 2, -1, 3, -4
    assert Mimic()(view([[9]], [[0], [-3], [1], [-6]]), rng()).tolist() == [[-6]]


@steady
@given(st.integers(1, 3), st.integers(3, 7), st.integers(1, 5), st.integers(0, 2**32))
def test_by_definition(f, h, d, seed):
    """The largest projection, in float64, on the eigenvector of the covariance that numpy finds."""
    honest = np.random.default_rng(seed).normal(size=(h, d)).astype(np.float32)
    forged = Mimic()(view(torch.zeros(f, d), torch.from_numpy(honest)), rng())
    centred = honest.astype(float) - honest.astype(float).mean(axis=0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    out = np.abs(centred @ direction)
    assert forged.tolist() == [honest[out.argmax()].tolist()] * f or np.sort(out)[-1] < np.sort(out)[-2] * (1 + 1e-9)


def test_gives_its_victim_more_say_and_no_test_for_outliers_a_hold():
    """The promise: every row is an honest one, and the mean moves towards the victim."""
    honest = torch.randn(7, 4, generator=torch.Generator().manual_seed(1))
    forged = Mimic(victim=2)(view(torch.zeros(3, 4), honest), rng())
    rows = torch.cat([honest, forged])
    mean = Mean()(Updates(rows, torch.ones(10), torch.arange(10)), {}).step
    torch.testing.assert_close(mean, 0.7 * honest.mean(dim=0) + 0.3 * honest[2])


def test_copies_nobody_in_place_of_a_victim_that_is_not_there():
    with pytest.raises(IndexError):
        Mimic(victim=3)(view([[9]], [[1], [2], [3]]), rng())


@pytest.mark.parametrize(
    ("attack", "n", "f", "sentence"),
    [
        (Mimic(), 3, 3, "mimic refuses 0 honest clients (n = 3, f = 3): it needs at least 1"),
        (Mimic(victim=7), 10, 3, "mimic refuses 7 honest clients (n = 10, f = 3): it needs at least 8"),
    ],
)
def test_refuses(attack, n, f, sentence):
    assert refusal_of(attack, n, f, "honest") == sentence


def test_accepts_up_to_its_limits():
    assert Mimic.needs == "honest"
    Mimic().require(3, 2, "honest")
    Mimic(victim=6).require(10, 3, "honest")
