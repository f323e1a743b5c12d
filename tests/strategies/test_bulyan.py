"""Bulyan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Refused
from strategies import Bulyan
from tests.strategies import definitions
from tests.strategies.rounds import Drawn, apply, close, numbers, rounds, steady, updates


def test_by_hand() -> None:
    # n = 7, f = 1: five picks, then the three nearest the median. Left, with scores:
    #   0    2    4    10   16   19   21     four neighbours
    #   376  268  200  217  214  319  439    takes 4
    #   360  264       181  70   94   150    three: takes 16
    #   104  68        145       85   125    two: takes 2
    #   100            81        4    4      one: takes 19, the lower index
    #   100            100            121    none by the formula, one by ours: takes 0, the lower index
    # Of 0 2 4 16 19 the median is 4 and the nearest are 4, 2, 0.
    # The five of lowest first scores, 4 16 10 2 19, would give 10.
    assert apply(Bulyan(byzantine=1), updates(numbers(0, 2, 4, 10, 16, 19, 21))).step.tolist() == [2]


def test_of_two_equally_far_from_the_median_the_smaller_value_is_kept() -> None:
    # Picks 2 1 4 0 5; nearest the median 2 are 2, 1 and one of 0 and 4.
    assert apply(Bulyan(byzantine=1), updates(numbers(0, 1, 2, 4, 5, 30, 90))).step.tolist() == [1]


def test_is_the_mean_when_nobody_is_feared() -> None:
    assert apply(Bulyan(byzantine=0), updates(numbers(1, 2, 9))).step.tolist() == [4]


@steady
@given(st.data(), st.integers(0, 2))
def test_by_definition(data: st.DataObject, byzantine: int) -> None:
    drawn: Drawn = data.draw(rounds(least=4 * byzantine + 3, more=4))
    close(apply(Bulyan(byzantine), drawn.updates).step, definitions.bulyan(drawn.rows, byzantine), drawn.rows)


@pytest.mark.parametrize("far", [10.0, 1e30])
def test_one_entry_far_off_does_not_reach_the_step(far: float) -> None:
    # The attack Bulyan was made for: near the honest rows but for one coordinate.
    honest = np.random.default_rng(3).normal(size=(9, 40))
    attackers = np.repeat(honest.mean(axis=0, keepdims=True), 2, axis=0)
    attackers[:, 7] = far
    step = apply(Bulyan(byzantine=2), updates(np.vstack([attackers, honest]))).step.numpy()
    assert np.abs(step).max() <= np.abs(honest).max()


def test_works_through_more_columns_than_fit_in_one_chunk() -> None:
    rows = torch.randn(7, 700_000, generator=torch.Generator().manual_seed(0))
    step = apply(Bulyan(byzantine=1), updates(rows.numpy())).step
    picks = definitions.bulyan_picks(np.array(_coarse(rows)), 1)
    for column in (0, 299_592, 299_593, 299_594, 699_999):
        values = sorted(rows[picks, column].double().tolist())
        nearest = sorted(values, key=lambda value: abs(value - values[2]))[:3]
        assert float(step[column]) == pytest.approx(sum(nearest) / 3, abs=1e-6)


def _coarse(rows: torch.Tensor) -> list[list[float]]:
    """Few columns with the same distances: an orthogonal change of axes."""
    triangle = torch.linalg.qr(rows.double().T).R
    return triangle.T.tolist()


def test_refuses_too_few() -> None:
    Bulyan(byzantine=2).require(11)
    with pytest.raises(Refused) as refusal:
        apply(Bulyan(byzantine=2), updates(numbers(*range(10))))
    assert str(refusal.value) == (
        "bulyan refuses n = 10 uploads with byzantine = 2: it needs n >= 4 f + 3 = 11; "
        "at n = 10 the largest byzantine is 1"
    )
