"""FLAME."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from fedsim.domain import Mistake, Refused
from fedsim.seeds import stream
from strategies import Flame
from tests.strategies import filter_definitions
from tests.strategies.rounds import Drawn, apply, close, flat, rounds, steady, updates


def admitted(rows: np.ndarray) -> list[int]:
    shares = apply(Flame(noise=0), updates(rows)).shares
    assert shares is not None
    return [int(client) for client in shares.nonzero().flatten()]


def test_by_hand() -> None:
    # Three of five make a majority: (3, 4), (4, 3) and (6, 8), 0.96 alike at least; lengths 5, 5, 10, 5, 2, median 5.
    # (3, 4), (4, 3) and half of (6, 8), over three.
    result = apply(Flame(noise=0), updates([[3, 4], [4, 3], [6, 8], [-5, 0], [0, -2]]))
    assert result.step.tolist() == pytest.approx([10 / 3, 11 / 3])
    assert result.shares is not None
    assert result.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_one_and_two_are_a_majority() -> None:
    assert admitted(np.array([[3.0, 4.0]])) == [0]
    assert admitted(np.array([[3.0, 4.0], [-3.0, -4.0]])) == [0, 1]


@steady
@given(rounds(more=9))
def test_by_definition(drawn: Drawn) -> None:
    expected = filter_definitions.majority(drawn.rows)
    result = apply(Flame(noise=0), drawn.updates)
    assert result.shares is not None
    assert result.shares.nonzero().flatten().tolist() == expected
    close(result.step, filter_definitions.shortened_mean(drawn.rows, expected), drawn.rows)


@pytest.mark.parametrize("far", [1.0, 1e3, 1e30])
def test_a_minority_of_another_direction_is_left_out(far: float) -> None:
    # Backdoored models point the same way as each other, and their length is no help.
    rng = np.random.default_rng(5)
    truth, goal = rng.normal(size=(2, 400))
    honest = truth + 0.7 * rng.normal(size=(6, 400))
    backdoored = far * (truth + 2 * goal + 0.01 * rng.normal(size=(5, 400)))
    assert admitted(np.vstack([backdoored, honest])) == [5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("far", [10.0, 1e30])
def test_length_buys_no_say(far: float) -> None:
    # A model-replacement attack that points as the others do moves the step as much as any of them.
    honest = 1 + 0.1 * np.random.default_rng(6).normal(size=(6, 50))
    rows = np.vstack([far * honest[:2], honest])
    step = apply(Flame(noise=0), updates(rows)).step
    close(step, filter_definitions.shortened_mean(rows, filter_definitions.majority(rows)), honest)
    assert float(torch.linalg.vector_norm(step)) <= np.median(np.linalg.norm(honest, axis=1)) * 1.05


def test_noise_is_lambda_medians_strong_and_drawn_by_round() -> None:
    rows = np.random.default_rng(7).normal(size=(5, 40_000)) + 1
    bare = apply(Flame(noise=0), updates(rows)).step
    rule = Flame(noise=0.01, seed=4)
    memory, noises = rule.init(flat(40_000)), []
    for played in range(2):
        step, memory, shares, _ = rule(updates(rows), memory)
        noises.append((step - bare).double().numpy())
        assert shares is not None
        assert float(shares.sum()) == pytest.approx(1)
        drawn = stream(4, "flame", played).standard_normal(40_000, dtype=np.float32)
        strength = 0.01 * np.median(np.linalg.norm(rows, axis=1))
        assert np.allclose(noises[-1], strength * drawn, atol=1e-5 * strength + 1e-6)
        assert noises[-1].std() == pytest.approx(strength, rel=0.02)
    assert int(memory["round"]) == 2
    assert abs(np.corrcoef(noises)[0, 1]) < 0.03


def test_noise_is_the_runs_unless_it_has_a_seed() -> None:
    round_ = updates(np.random.default_rng(8).normal(size=(4, 10)))
    steps = [tuple(apply(Flame(seed=seed), round_).step.tolist()) for seed in (None, 0, 1)]
    assert steps[0] == steps[1] != steps[2]


def test_refuses_half_byzantine() -> None:
    with pytest.raises(Refused) as refusal:
        Flame(byzantine=3).require(6)
    assert str(refusal.value) == (
        "flame refuses n = 6 uploads with byzantine = 3: it needs n >= 2 f + 1 = 7; at n = 6 the largest byzantine is 2"
    )


def test_refuses_noise_below_none() -> None:
    with pytest.raises(Mistake):
        Flame(noise=-0.1)
