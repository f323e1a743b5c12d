"""Centred clipping and norm clipping."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Mistake, Refused
from strategies import CenteredClipping, NormClipping
from tests.strategies import definitions
from tests.strategies.rounds import Drawn, apply, close, flat, numbers, rounds, steady, updates


def test_norm_clipping_by_hand() -> None:
    # Norms 5 and 1; clipped to 2: (6/5, 8/5) and (0, 1), mean (0.6, 1.3); weighted 1 : 3, (0.3, 1.15).
    rows = [[3, 4], [0, 1]]
    assert apply(NormClipping(bound=2), updates(rows)).step.tolist() == pytest.approx([0.6, 1.3])
    weighted = apply(NormClipping(bound=2), updates(rows, weights=[1, 3]))
    assert weighted.step.tolist() == pytest.approx([0.3, 1.15])


def test_centered_clipping_by_hand() -> None:
    # From 0: 10 and -1 and 3 pull by 2, -1, 2; v = 1. Then by 2, -2, 2; v = 5/3.
    round_ = updates(numbers(10, -1, 3))
    first = apply(CenteredClipping(radius=2), round_)
    assert first.step.tolist() == pytest.approx([1])
    second = apply(CenteredClipping(radius=2), round_, first.memory)
    assert second.step.tolist() == pytest.approx([5 / 3])
    both = apply(CenteredClipping(radius=2, iterations=2), round_)
    assert both.step.tolist() == pytest.approx([5 / 3])


@steady
@given(rounds(), st.sampled_from([1e-3, 0.5, 2.0, 1e3]))
def test_norm_clipping_by_definition(drawn: Drawn, bound: float) -> None:
    expected = definitions.norm_clipping(drawn.rows, drawn.weights, bound)
    close(apply(NormClipping(bound), drawn.updates).step, expected, np.minimum(np.abs(drawn.rows), bound))


@steady
@given(rounds(), st.sampled_from([1e-3, 0.5, 2.0, 1e3]), st.integers(1, 3))
def test_centered_clipping_by_definition(drawn: Drawn, radius: float, iterations: int) -> None:
    rule, center = CenteredClipping(radius, iterations), np.zeros(drawn.rows.shape[1])
    memory = rule.init(flat(drawn.rows.shape[1]))
    for _ in range(3):
        step, memory, shares, _ = rule(drawn.updates, memory)
        center = definitions.centered_clipping(drawn.rows, center, radius, iterations)
        close(step, center, drawn.rows)
        assert torch.equal(memory["center"], step)
        assert shares is None


def test_moving_the_centre_with_the_updates_moves_the_result() -> None:
    rule, rng = CenteredClipping(radius=1.0, iterations=3), np.random.default_rng(5)
    rows, offset = rng.normal(size=(6, 4)), np.array([4.0, -8.0, 2.0, 16.0])
    moved = apply(rule, updates(rows + offset), {"center": torch.tensor(offset, dtype=torch.float32)})
    assert np.allclose(moved.step.numpy(), apply(rule, updates(rows)).step.numpy() + offset, atol=1e-5)


def test_the_remembered_centre_is_not_the_step_that_was_handed_out() -> None:
    result = apply(CenteredClipping(radius=1.0), updates(numbers(1, 2)))
    before = result.memory["center"].clone()
    result.step.add_(7)
    assert torch.equal(result.memory["center"], before)


@pytest.mark.parametrize("far", [1e2, 1e20, 3e38])
def test_one_client_moves_the_step_by_its_part_of_the_radius(far: float) -> None:
    # Also where the square of the row overflows float32.
    honest = np.random.default_rng(6).normal(size=(9, 5))
    rows = np.vstack([honest, np.full((1, 5), far)])
    for rule in (CenteredClipping(radius=0.5), NormClipping(bound=0.5)):
        step = apply(rule, updates(rows)).step.double().numpy()
        without = sum(definitions.clip(row, 0.5) for row in honest) / 10
        assert np.linalg.norm(step - without) == pytest.approx(0.5 / 10, rel=1e-3)


@pytest.mark.parametrize("name", ["centered_clipping", "norm_clipping"])
def test_refuses_an_empty_round(name: str) -> None:
    rule = CenteredClipping(radius=1) if name == "centered_clipping" else NormClipping(bound=1)
    with pytest.raises(Refused) as refusal:
        rule.require(0)
    assert str(refusal.value) == f"{name} refuses n = 0 uploads: it needs n >= 1"


def test_refuses_a_bound_of_nothing() -> None:
    with pytest.raises(Mistake):
        NormClipping(bound=0)
    with pytest.raises(Mistake):
        CenteredClipping(radius=-1)
