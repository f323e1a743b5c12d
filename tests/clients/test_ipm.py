"""Inner product manipulation: by hand, by definition, by promise, by refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import refusal_of, rng, steady, view

from clients.ipm import InnerProductManipulation
from fedsim.domain import Mistake

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32))


def test_by_hand_from_the_others():
    # mean of (1, 2) and (3, -4) is (2, -1); times -10
    forged = InnerProductManipulation()(view([[9, 9], [8, 8]], [[1, 2], [3, -4]]), rng())
    assert forged.tolist() == [[-20, 10], [-20, 10]]


def test_by_hand_from_its_own():
    # mean of (9, 9) and (7, 1) is (8, 5); times -0.5
    forged = InnerProductManipulation(epsilon=0.5)(view([[9, 9], [7, 1]], others=3), rng())
    assert forged.tolist() == [[-4, -2.5], [-4, -2.5]]


@steady
@given(SIZES, st.floats(0, 100))
def test_by_definition(sizes, epsilon):
    f, h, d, seed = sizes
    honest = np.random.default_rng(seed).normal(size=(h, d)).astype(np.float32)
    forged = InnerProductManipulation(epsilon)(view(torch.zeros(f, d), torch.from_numpy(honest)), rng())
    expected = [-epsilon * sum(float(x) for x in column) / h for column in honest.T]
    for row in forged.tolist():
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4 * max(1, epsilon))


@pytest.mark.parametrize(("n", "f"), [(10, 2), (10, 3), (7, 1), (4, 2)])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_turns_the_mean_round_exactly_beyond_its_threshold(n, f, factor):
    """The promise of the paper: the plain mean points against the honest one, or does not."""
    epsilon = factor * (n - f) / f
    honest = torch.randn(n - f, 6, generator=torch.Generator().manual_seed(n + f)) + 1
    forged = InnerProductManipulation(epsilon)(view(torch.ones(f, 6), honest), rng())
    mean = torch.cat([honest, forged]).mean(dim=0)
    assert (float(mean @ honest.mean(dim=0)) < 0) == (factor > 1)


def test_refuses_a_negative_epsilon():
    with pytest.raises(Mistake) as refusal:
        InnerProductManipulation(epsilon=-1.0)
    assert str(refusal.value) == "InnerProductManipulation.epsilon: -1.0 is out of range; must be at least 0"


def test_refuses_to_turn_round_a_mean_of_nobody():
    assert refusal_of(InnerProductManipulation(), 3, 3, "honest") == (
        'ipm refuses f = 3 attackers of n = 3: no honest mean is left to turn round; it needs f < n, or knowledge "own"'
    )
    InnerProductManipulation().require(3, 3, "own")
    InnerProductManipulation().require(3, 2, "honest")
