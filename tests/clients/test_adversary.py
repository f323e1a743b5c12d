"""When the adversary strikes, and how stealthily."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import rng, steady, view

from clients.adversary import Adversary, Schedule, Stealth
from clients.sign_flip import SignFlip


def struck(schedule, rounds=12, seed=0):
    return [round for round in range(1, rounds + 1) if schedule.strikes(round, seed)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), list(range(1, 13))),
        (Schedule(start=10), [10, 11, 12]),
        (Schedule(stop=2), [1, 2]),
        (Schedule(start=3, stop=3), [3]),
        (Schedule(start=5, stop=4), []),
        (Schedule(every=5), [1, 6, 11]),
        (Schedule(start=2, stop=9, every=3), [2, 5, 8]),
        (Schedule(probability=0.0), []),
    ],
)
def test_strikes_in_the_rounds_of_its_schedule(schedule, expected):
    assert struck(schedule) == expected


@steady
@given(st.integers(1, 9), st.one_of(st.none(), st.integers(1, 12)), st.integers(1, 5), st.integers(1, 15))
def test_schedule_by_definition(start, stop, every, round):
    last = 100 if stop is None else stop
    expected = round in [number for number in range(start, 100, every) if number <= last]
    assert Schedule(start, stop, every).strikes(round, seed=3) == expected


def test_strikes_as_often_as_its_probability_says():
    rounds = struck(Schedule(probability=0.3), rounds=2000)
    assert len(rounds) == pytest.approx(600, abs=4 * (2000 * 0.3 * 0.7) ** 0.5)


def test_chance_follows_from_the_seed_and_from_nothing_else():
    schedule = Schedule(probability=0.5)
    assert struck(schedule, 60) == struck(schedule, 60)
    assert struck(schedule, 60, seed=1) != struck(schedule, 60, seed=2)
    # A later start changes no round's draw.
    later = struck(Schedule(start=20, probability=0.5), 60)
    assert later == [round for round in struck(schedule, 60) if round >= 20]


def test_a_higher_probability_only_adds_rounds():
    assert set(struck(Schedule(probability=0.2), 200)) < set(struck(Schedule(probability=0.6), 200))


@pytest.mark.parametrize(
    ("stealth", "expected"),
    [
        (Stealth(), [1, 1, 1, 1, 1]),
        (Stealth(0.25, None, 5), [0.25] * 5),
        (Stealth(0.0, 1.0, 5), [0, 0.25, 0.5, 0.75, 1]),
        (Stealth(0.8, 0.4, 5), [0.8, 0.7, 0.6, 0.5, 0.4]),
    ],
)
def test_alpha_moves_linearly(stealth, expected):
    assert [stealth.alpha(round) for round in range(1, 6)] == pytest.approx(expected)


@pytest.mark.parametrize("factor", [0.0, 0.1, 1 / 3, 0.7, 1.0])
@pytest.mark.parametrize("final", [0.0, 1.0])
def test_alpha_reaches_an_end_of_its_range_exactly(factor, final):
    """Because blending is exact only there."""
    assert Stealth(factor, final, 7).alpha(7) == final


@steady
@given(st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_blend_by_definition(alpha, seed):
    draw = torch.Generator().manual_seed(seed)
    honest, crafted = torch.randn(2, 3, generator=draw), torch.randn(2, 3, generator=draw)
    sent = Stealth(alpha).blend(honest, crafted, round=1)
    for i in range(2):
        for j in range(3):
            expected = (1 - alpha) * float(honest[i, j]) + alpha * float(crafted[i, j])
            assert float(sent[i, j]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_blend_is_exact_at_its_ends_however_large_the_other_is():
    honest, crafted = torch.tensor([[1.0, 2.0]]), torch.tensor([[float("inf"), float("nan")]])
    assert torch.equal(Stealth(0.0).blend(honest, crafted, 1), honest)
    assert torch.equal(Stealth(1.0).blend(crafted, honest, 1), honest)


def test_forges_by_the_alpha_of_the_views_round():
    # alpha = 0, 0.5, 1 in rounds 1, 2, 3; sign_flip of 2 is -2
    adversary = Adversary(SignFlip(), (0,), stealth=Stealth(0.0, 1.0, 3))
    forged = [adversary.forge(view([[2.0]], round=round), rng()).item() for round in (1, 2, 3)]
    assert forged == [2, 0, -2]
