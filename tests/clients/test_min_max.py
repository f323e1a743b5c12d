"""Min-Max and Min-Sum: by hand, by definition, by promise, by refusal."""

import numpy as np
import pytest
import torch
from views import refusal_of, rng, view

from clients.min_max import MinMax, MinSum

PERTURBATIONS = ("unit", "std", "sign")


def perturbed(name, honest):
    """The three directions of the paper, in float64."""
    mean = honest.mean(axis=0)
    if name == "unit":
        return -mean / np.linalg.norm(mean)
    return -np.sign(mean) if name == "sign" else -honest.std(axis=0)


def squares(honest, row):
    return ((honest - row) ** 2).sum(axis=1)


def excess(attack, honest, row):
    """How far a row leaves the attack's bound, as a part of it; negative inside."""
    apart = ((honest[:, None] - honest) ** 2).sum(axis=2)
    if isinstance(attack, MinMax):
        return squares(honest, row).max() / apart.max() - 1
    return squares(honest, row).sum() / apart.sum(axis=1).max() - 1


def test_min_max_by_hand():
    # mean 3, p = -1; the furthest apart are 1 and 5: |x - 5| <= 4 down to x = 1
    forged = MinMax()(view([[0.0], [0.0]], [[1], [3], [5]]), rng())
    assert forged.tolist() == [[pytest.approx(1, abs=1e-5)]] * 2


def test_min_max_by_hand_in_the_plane():
    # mean (1, 0), p = (-1, 0); (1, 3) and (1, -3) are 6 apart: (x - 1)^2 + 9 <= 36, x >= 1 - sqrt(27)
    forged = MinMax()(view([[0.0, 0.0]], [[1, 3], [1, -3]]), rng())
    assert forged.tolist() == [pytest.approx([1 - 27**0.5, 0], abs=1e-5)]


def test_min_sum_by_hand():
    # mean 3, p = -1; 1's squared distances sum to 4 + 16 = 20: (x - 1)^2 + (x - 3)^2 + (x - 5)^2 = 3 (x - 3)^2 + 8
    # is 20 at x = 3 - 2
    forged = MinSum()(view([[0.0]], [[1], [3], [5]]), rng())
    assert forged.tolist() == [[pytest.approx(1, abs=1e-5)]]


def test_perturbations_by_hand():
    # mean (1, -4): -mu/|mu| = (-1, 4) / sqrt(17); standard deviations (0, 1); signs (-1, 1). As far apart as 2.
    # std: (1, -4 - g): the further one, at -3, is 1 + g <= 2 away: g = 1
    # sign: (1 - g, -4 + g): the further one, at -5, is g^2 + (1 + g)^2 <= 4 away: g = (sqrt(7) - 1) / 2
    honest = [[1.0, -5.0], [1.0, -3.0]]
    std, sign = (MinMax(perturbation=name)(view([[0.0, 0.0]], honest), rng())[0] for name in ("std", "sign"))
    assert std.tolist() == pytest.approx([1, -5], abs=1e-5)
    gamma = (7**0.5 - 1) / 2
    assert sign.tolist() == pytest.approx([1 - gamma, -4 + gamma], abs=1e-5)
    unit = MinMax()(view([[0.0, 0.0]], honest), rng())[0] - torch.tensor([1.0, -4.0])
    assert (unit[1] / unit[0]).item() == pytest.approx(-4, rel=1e-4)


def test_from_its_own_where_it_sees_no_others():
    own = [[1.0], [3.0], [5.0]]
    assert torch.equal(MinMax()(view(own, others=4), rng()), MinMax()(view(own, own), rng()))


def draws():
    """1000 draws of shape, spread, offset and length."""
    for seed in range(1000):
        draw = np.random.default_rng(seed)
        h, d = int(draw.integers(2, 9)), int(draw.choice([1, 2, 10, 100]))
        offset, length = draw.choice([0.0, 0.3, 300.0]), 10.0 ** draw.integers(-6, 7)
        honest = length * (draw.normal(size=(h, d)) + offset * draw.normal(size=d))
        yield PERTURBATIONS[seed % 3], honest.astype(np.float32)


@pytest.mark.parametrize("kind", [MinMax, MinSum])
def test_stays_inside_its_bound_and_is_tight_in_all_of_a_thousand_draws(kind):
    """The promise of the paper: the float32 row in float64; one with 1 % more of gamma is outside."""
    for name, honest in draws():
        attack = kind(perturbation=name)
        row = attack(view(torch.zeros(1, honest.shape[1]), torch.from_numpy(honest)), rng())[0].double().numpy()
        exact = honest.astype(float)
        assert excess(attack, exact, row) <= 0
        mean, direction = exact.mean(axis=0), perturbed(name, exact)
        gamma = (row - mean) @ direction / (direction @ direction)
        assert gamma > 0
        assert excess(attack, exact, mean + 1.01 * gamma * direction) > 0
        np.testing.assert_allclose(row, mean + gamma * direction, rtol=1e-3, atol=1e-3 * np.abs(row).max())


@pytest.mark.parametrize("kind", [MinMax, MinSum])
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_is_the_largest_scale_by_a_slow_search(kind, name):
    """Among 4,000 scales, by the definition."""
    honest = np.random.default_rng(2).normal(0.5, 1, size=(6, 3)).astype(np.float32)
    attack, exact = kind(perturbation=name), honest.astype(float)
    row = attack(view(torch.zeros(1, 3), torch.from_numpy(honest)), rng())[0].double().numpy()
    mean, direction = exact.mean(axis=0), perturbed(name, exact)
    inside = [g for g in np.linspace(0, 8, 4001) if excess(attack, exact, mean + g * direction) <= 0]
    assert 0.1 < inside[-1] < 8
    assert (row - mean) @ direction / (direction @ direction) == pytest.approx(inside[-1], abs=2.1e-3)


@pytest.mark.parametrize("kind", [MinMax, MinSum])
def test_updates_that_are_all_alike_leave_it_no_room(kind):
    forged = kind()(view([[0.0, 0.0]], [[1, 2], [1, 2]]), rng())
    assert forged.tolist() == [pytest.approx([1, 2], rel=1e-5)]


@pytest.mark.parametrize("kind", [MinMax, MinSum])
@pytest.mark.parametrize("name", ["unit", "sign"])
def test_a_mean_of_zero_has_no_direction(kind, name):
    assert kind(perturbation=name)(view([[5.0]], [[-2], [2]]), rng()).tolist() == [[0]]


@pytest.mark.parametrize(("kind", "name"), [(MinMax, "min_max"), (MinSum, "min_sum")])
@pytest.mark.parametrize(("n", "f", "knowledge", "seen"), [(10, 1, "own", 1), (10, 9, "honest", 1), (3, 3, "rule", 0)])
def test_refuses_too_few_to_measure_a_distance(kind, name, n, f, knowledge, seen):
    assert refusal_of(kind(), n, f, knowledge) == (
        f"{name} refuses {seen} updates to see (n = {n}, f = {f}): it needs a distance between two"
    )
    kind().require(10, 2, "own")
    kind().require(10, 8, "honest")
