"""No attack, sign flipping and random noise: by hand, by definition, by promise, by refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import rng, steady, view

from clients.none import NoAttack
from clients.random_noise import RandomNoise
from clients.sign_flip import SignFlip
from fedsim.domain import Mistake


def test_no_attack_uploads_what_was_trained():
    assert NoAttack()(view([[1, 2], [3, 4]], [[9, 9]]), rng()).tolist() == [[1, 2], [3, 4]]


def test_sign_flip_by_hand():
    # each row its own: -2 (1, -2) and -2 (0.5, 3)
    forged = SignFlip(scale=2.0)(view([[1, -2], [0.5, 3]], [[100, 100]]), rng())
    assert forged.tolist() == [[-2, 4], [-1, -6]]


@steady
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**32), st.floats(0, 50))
def test_sign_flip_by_definition(f, d, seed, scale):
    own = np.random.default_rng(seed).normal(size=(f, d)).astype(np.float32)
    forged = SignFlip(scale)(view(torch.from_numpy(own)), rng()).numpy()
    for i in range(f):
        for j in range(d):
            assert forged[i, j] == pytest.approx(-scale * float(own[i, j]), rel=1e-5, abs=1e-7)


def test_sign_flip_is_not_the_negative_mean():
    """As ByzFL's is: rows that differ stay different."""
    forged = SignFlip()(view([[1.0], [5.0]], [[2.0]]), rng())
    assert forged.tolist() == [[-1], [-5]]


def test_random_replaces_by_noise_of_the_given_width():
    d = 40_000
    forged = RandomNoise(sigma=3.0)(view(torch.full((2, d), 100.0)), rng(1))
    for row in forged:
        assert row.mean().item() == pytest.approx(0, abs=5 * 3 / d**0.5)
        assert row.std().item() == pytest.approx(3, rel=0.02)


def test_random_adds_noise_of_the_given_width():
    d = 40_000
    forged = RandomNoise(sigma=3.0, mode="add")(view(torch.full((2, d), 100.0)), rng(1))
    for row in forged:
        assert row.mean().item() == pytest.approx(100, abs=5 * 3 / d**0.5)
        assert row.std().item() == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_random_draws_each_row_on_its_own_and_by_seed(mode):
    attack, shown = RandomNoise(mode=mode), view(torch.zeros(3, 50))
    forged = attack(shown, rng(1))
    assert not torch.equal(forged[0], forged[1])
    assert torch.equal(forged, attack(shown, rng(1)))
    assert not torch.equal(forged, attack(shown, rng(2)))


def test_random_without_width_is_zero_or_honest():
    own = torch.arange(6.0).view(2, 3)
    assert RandomNoise(sigma=0.0)(view(own), rng()).abs().max() == 0
    assert torch.equal(RandomNoise(sigma=0.0, mode="add")(view(own), rng()), own)


@steady
@given(st.integers(0, 2**32), st.sampled_from(["replace", "add"]), st.floats(0, 10))
def test_random_by_definition(seed, mode, sigma):
    own = torch.arange(6.0).view(2, 3)
    draws = rng(seed)
    expected = [[sigma * draws.standard_normal(dtype=np.float32) for _ in range(3)] for _ in range(2)]
    forged = RandomNoise(sigma, mode)(view(own), rng(seed)).double()
    base = own.double() if mode == "add" else 0
    torch.testing.assert_close(forged - base, torch.tensor(expected).double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "setting", "sentence"),
    [
        (SignFlip, {"scale": -0.5}, "SignFlip.scale: -0.5 is out of range; must be at least 0"),
        (RandomNoise, {"sigma": -1.0}, "RandomNoise.sigma: -1.0 is out of range; must be at least 0"),
        (RandomNoise, {"sigma": float("nan")}, "RandomNoise.sigma: nan is out of range; must be at least 0"),
    ],
)
def test_refuses(kind, setting, sentence):
    with pytest.raises(Mistake) as refusal:
        kind(**setting)
    assert str(refusal.value) == sentence
