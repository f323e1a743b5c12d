"""A little is enough: by hand, by definition, by promise, by refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from views import refusal_of, rng, steady, view

from clients.alie import ALittleIsEnough


def test_by_hand():
    # mu = (2, 5), sigma = (1, 0): 2 - 1.5 * 1 and 5 - 1.5 * 0
    forged = ALittleIsEnough(z=1.5)(view([[0, 0]], [[1, 5], [3, 5]]), rng())
    assert forged.tolist() == [[0.5, 5]]


def test_by_hand_from_its_own():
    # mu = (1, 2), sigma = (1, 2)
    forged = ALittleIsEnough(z=2.0)(view([[0, 0], [2, 4]], others=3), rng())
    assert forged.tolist() == [[-1, -2], [-1, -2]]


@pytest.mark.parametrize(
    ("n", "f", "supporters"),
    [
        (50, 24, 2),  # the paper's own example: floor(50/2 + 1) - 24
        (10, 5, 1),
        (11, 3, 3),
        (10, 2, 4),
        (25, 11, 2),
    ],
)
def test_z_is_the_quantile_of_those_who_lie_nearer(n, f, supporters):
    expected = norm.ppf((n - f - supporters) / (n - f))
    assert ALittleIsEnough().deviations(n, f) == pytest.approx(expected, abs=1e-12)


def test_z_is_zero_at_ten_clients_with_two_attackers_and_negative_below():
    assert ALittleIsEnough().deviations(10, 2) == 0
    assert ALittleIsEnough().deviations(10, 1) < 0
    assert ALittleIsEnough().deviations(10, 3) > 0


def test_z_counts_all_chosen_clients_whether_it_sees_them_or_not():
    mine = [[0.0], [2.0], [4.0]]
    shown = ALittleIsEnough()(view(mine, torch.tensor(mine)), rng())
    hidden = ALittleIsEnough()(view(mine, others=5), rng())
    # mu = 2, sigma = sqrt(8/3); n = 6, f = 3: s = 1, z = ppf(2/3); n = 8, f = 3: s = 2, z = ppf(3/5)
    assert shown[0].item() == pytest.approx(2 - norm.ppf(2 / 3) * (8 / 3) ** 0.5, rel=1e-6)
    assert hidden[0].item() == pytest.approx(2 - norm.ppf(3 / 5) * (8 / 3) ** 0.5, rel=1e-6)


@steady
@given(
    st.integers(2, 5),
    st.integers(0, 6),
    st.integers(1, 4),
    st.integers(0, 2**32),
    st.sampled_from([None, -1.0, 0.3, 4.0]),
)
def test_by_definition(f, more, d, seed, z):
    h = f + more
    honest = np.random.default_rng(seed).normal(size=(h, d)).astype(np.float32)
    forged = ALittleIsEnough(z=z)(view(torch.zeros(f, d), torch.from_numpy(honest)), rng())
    n = f + h
    step = norm.ppf((n - f - (int(n / 2 + 1) - f)) / (n - f)) if z is None else z
    expected = []
    for column in honest.T.tolist():
        mu = sum(column) / h
        expected.append(mu - step * (sum((x - mu) ** 2 for x in column) / h) ** 0.5)
    for row in forged.tolist():
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_hides_among_honest_clients_who_lie_further_out():
    """The promise of the paper: in each entry about s honest clients lie further out on its side."""
    honest = torch.randn(26, 2000, generator=torch.Generator().manual_seed(0))
    forged = ALittleIsEnough()(view(torch.zeros(24, 2000), honest), rng())
    further = (honest < forged[0]).sum(dim=0).float().mean().item()
    assert further == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize(
    ("n", "f", "knowledge", "sentence"),
    [
        (10, 6, "honest", "alie refuses f = 6 attackers of n = 10: it needs f <= n/2, at most 5"),
        (
            10,
            1,
            "own",
            'alie needs knowledge "honest": it takes a spread from at least 2 updates, and its own '
            "clients are 1; granted: 'own'",
        ),
        (2, 1, "honest", "alie refuses n = 2 uploads: z is infinite; it needs n >= 3"),
    ],
)
def test_refuses(n, f, knowledge, sentence):
    assert refusal_of(ALittleIsEnough(), n, f, knowledge) == sentence


@pytest.mark.parametrize(("n", "f", "knowledge"), [(10, 5, "honest"), (10, 2, "own"), (3, 1, "honest"), (3, 1, "rule")])
def test_accepts_up_to_its_limits(n, f, knowledge):
    ALittleIsEnough().require(n, f, knowledge)
    assert np.isfinite(ALittleIsEnough().deviations(n, f))
