"""The coordinate-wise median and trimmed mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Refused
from strategies import Median, TrimmedMean
from tests.strategies import definitions
from tests.strategies.rounds import Drawn, apply, close, numbers, rounds, steady, updates


def test_median_by_hand() -> None:
    assert apply(Median(), updates([[5, 0], [1, 0], [2, 9]])).step.tolist() == [2, 0]


def test_median_of_an_even_number_is_between_the_two_middle_values() -> None:
    # 1 2 | 7 100: (2 + 7) / 2; torch.median would say 2
    assert apply(Median(), updates(numbers(100, 2, 7, 1))).step.tolist() == [4.5]


def test_trimmed_mean_by_hand() -> None:
    # -50 | 1 2 6 | 90: (1 + 2 + 6) / 3
    assert apply(TrimmedMean(byzantine=1), updates(numbers(2, 90, 6, -50, 1))).step.tolist() == [3]


def test_trims_what_it_is_told_rather_than_what_it_fears() -> None:
    # -50 1 | 2 | 6 90
    assert apply(TrimmedMean(byzantine=1, trim=2), updates(numbers(2, 90, 6, -50, 1))).step.tolist() == [2]


def test_trims_nothing_when_nobody_is_feared() -> None:
    assert apply(TrimmedMean(byzantine=0), updates(numbers(1, 2, 6))).step.tolist() == [3]


@steady
@given(rounds())
def test_median_by_definition(drawn: Drawn) -> None:
    close(apply(Median(), drawn.updates).step, definitions.median(drawn.rows), drawn.rows)


@steady
@given(st.data(), st.integers(0, 3))
def test_trimmed_mean_by_definition(data: st.DataObject, trim: int) -> None:
    drawn = data.draw(rounds(least=2 * trim + 1))
    rule = TrimmedMean(byzantine=data.draw(st.integers(0, trim)), trim=trim)
    close(apply(rule, drawn.updates).step, definitions.trimmed_mean(drawn.rows, trim), drawn.rows)


@pytest.mark.parametrize("rule", [Median(byzantine=3), TrimmedMean(byzantine=3)])
def test_stays_among_the_honest_values(rule: Median | TrimmedMean) -> None:
    honest = np.random.default_rng(0).normal(size=(4, 20))
    for far in (3e38, -3e38):
        step = apply(rule, updates(np.vstack([np.full((3, 20), far), honest]))).step.numpy()
        assert (step >= honest.min(axis=0) - 1e-6).all()
        assert (step <= honest.max(axis=0) + 1e-6).all()


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(byzantine=0), TrimmedMean(byzantine=1)])
def test_large_values_do_not_overflow(rule: Median | TrimmedMean) -> None:
    assert apply(rule, updates(numbers(*[3e38] * 4))).step.tolist() == pytest.approx([3e38], rel=1e-6)


def test_works_through_more_columns_than_fit_in_one_chunk() -> None:
    rows = torch.randn(3, 800_000, generator=torch.Generator().manual_seed(0))
    middle = rows.sort(dim=0).values[1]
    assert torch.equal(apply(Median(), updates(rows.numpy())).step, middle)
    assert torch.allclose(apply(TrimmedMean(byzantine=1), updates(rows.numpy())).step, middle)


@pytest.mark.parametrize("name", ["median", "trimmed_mean"])
def test_refuses_half_byzantine(name: str) -> None:
    rule = Median(byzantine=2) if name == "median" else TrimmedMean(byzantine=2)
    rule.require(5)
    with pytest.raises(Refused) as refusal:
        apply(rule, updates(numbers(1, 2, 3, 4)))
    assert str(refusal.value) == (
        f"{name} refuses n = 4 uploads with byzantine = 2: it needs n >= 2 f + 1 = 5; "
        "at n = 4 the largest byzantine is 1"
    )


def test_refuses_to_trim_everything() -> None:
    with pytest.raises(Refused) as refusal:
        TrimmedMean(byzantine=1, trim=3).require(6)
    assert str(refusal.value) == (
        "trimmed_mean refuses n = 6 uploads with trim = 3: it needs n >= 2 trim + 1 = 7; at n = 6 the largest trim is 2"
    )


def test_refuses_to_trim_fewer_than_are_feared() -> None:
    with pytest.raises(Refused) as refusal:
        TrimmedMean(byzantine=2, trim=1)
    assert str(refusal.value) == (
        "trimmed_mean refuses trim = 1 with byzantine = 2: it needs trim >= byzantine; "
        "leave trim out to trim 2 from each end"
    )
