"""Krum and Multi-Krum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Refused
from strategies import Krum, MultiKrum
from tests.strategies import definitions
from tests.strategies.rounds import Drawn, apply, close, numbers, rounds, steady, updates


def test_krum_by_hand() -> None:
    # n = 5, f = 1, two neighbours each; scores 1 + 9, 1 + 4, 4 + 9, 49 + 81, 100 + 289.
    # Three neighbours (n - f - 1) would pick 3: 110, 86, 62, 230, 750.
    result = apply(Krum(byzantine=1), updates(numbers(0, 1, 3, 10, 20)))
    assert result.step.tolist() == [1]
    assert result.shares is not None
    assert result.shares.tolist() == [0, 1, 0, 0, 0]


def test_multi_krum_by_hand() -> None:
    # The scores above: 5, 10, 13, 130, 389; n - f - 2 = 2 at most.
    round_ = updates(numbers(0, 1, 3, 10, 20))
    most = apply(MultiKrum(byzantine=1), round_)
    assert most.step.tolist() == [0.5]
    assert most.shares is not None
    assert most.shares.tolist() == [0.5, 0.5, 0, 0, 0]
    assert apply(MultiKrum(byzantine=1, select=1), round_).step.tolist() == [1]


def test_squares_the_distances() -> None:
    # Scores 21, 1 + 10, 21, 18, 5 + 5; of plain distances 6.2, 1 + 3.2, 6.2, 5.1, 2.2 + 2.2.
    result = apply(Krum(byzantine=1), updates([[4, 5], [3, 1], [0, 5], [3, 0], [2, 4]]))
    assert result.step.tolist() == [2, 4]


def test_the_lowest_index_wins_a_tie() -> None:
    # n = 3, f = 0, one neighbour: 1 and 2 are each other's nearest, as near as can be.
    assert apply(Krum(byzantine=0), updates(numbers(9, 1.1, 2.3))).step.tolist() == pytest.approx([1.1])
    assert apply(Krum(byzantine=0), updates(numbers(9, 2.3, 1.1))).step.tolist() == pytest.approx([2.3])


@steady
@given(st.data(), st.integers(0, 2))
def test_by_definition(data: st.DataObject, byzantine: int) -> None:
    drawn: Drawn = data.draw(rounds(least=2 * byzantine + 3))
    most = len(drawn.rows) - byzantine - 2
    order = definitions.krum_order(drawn.rows, byzantine)
    krum = apply(Krum(byzantine), drawn.updates)
    assert krum.step.double().tolist() == drawn.rows[order[0]].tolist()
    select = data.draw(st.none() | st.integers(1, most))
    picked = order[: select or most]
    multi = apply(MultiKrum(byzantine, select), drawn.updates)
    close(multi.step, drawn.rows[picked].mean(axis=0), drawn.rows)
    assert multi.shares is not None
    assert multi.shares.nonzero().flatten().tolist() == sorted(picked)


@pytest.mark.parametrize("far", [10.0, 1e6, 1e30])
def test_never_picks_a_far_minority(far: float) -> None:
    honest = np.random.default_rng(1).normal(size=(6, 8))
    attackers = np.full((3, 8), far)
    for rule in (Krum(byzantine=3), MultiKrum(byzantine=3)):
        shares = apply(rule, updates(np.vstack([attackers, honest]))).shares
        assert shares is not None
        assert shares[:3].tolist() == [0, 0, 0]


def test_a_common_offset_changes_no_pick() -> None:
    # Deviations of 1e-2 at 100: a float32 Gram matrix makes most of these squared distances negative.
    rng = np.random.default_rng(2)
    for _ in range(20):
        rows = (100 + 1e-2 * rng.normal(size=(9, 50))).astype(np.float32).astype(np.float64)
        best = definitions.krum_order(rows, 2)[0]
        assert apply(Krum(byzantine=2), updates(rows)).step.double().tolist() == rows[best].tolist()


def test_krum_refuses_too_few() -> None:
    Krum(byzantine=4).require(11)
    with pytest.raises(Refused) as refusal:
        apply(Krum(byzantine=4), updates(numbers(*range(10))))
    assert str(refusal.value) == (
        "krum refuses n = 10 uploads with byzantine = 4: it needs n >= 2 f + 3 = 11; "
        "at n = 10 the largest byzantine is 3"
    )


def test_says_so_when_not_even_no_attacker_would_do() -> None:
    with pytest.raises(Refused) as refusal:
        Krum(byzantine=1).require(2)
    assert str(refusal.value) == (
        "krum refuses n = 2 uploads with byzantine = 1: it needs n >= 2 f + 3 = 5; even byzantine = 0 needs n >= 3"
    )


def test_multi_krum_refuses_to_select_more_than_the_theorem_allows() -> None:
    MultiKrum(byzantine=2, select=6).require(10)
    with pytest.raises(Refused) as refusal:
        apply(MultiKrum(byzantine=2, select=7), updates(numbers(*range(10))))
    assert str(refusal.value) == (
        "multi_krum refuses n = 10 uploads with byzantine = 2 and select = 7: "
        "it needs select <= n - f - 2 = 6; leave select out to take the most allowed"
    )
