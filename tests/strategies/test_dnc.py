"""Divide and conquer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Refused
from fedsim.seeds import stream
from strategies import DnC
from tests.strategies import filter_definitions
from tests.strategies.rounds import Drawn, apply, close, flat, numbers, rounds, steady, updates


def drawn_columns(seed: int, played: int, d: int, count: int, times: int) -> list[list[int]]:
    rng = stream(seed, "dnc", played)
    return [sorted(rng.choice(d, count, replace=False, shuffle=False).tolist()) for _ in range(times)]


def test_by_hand() -> None:
    # Mean (2, 0); centred (-2, 1), (-1, -1), (-2, 0), (5, 0), the main direction nearly (1, 0): the last is farthest.
    result = apply(DnC(byzantine=1), updates([[0, 1], [1, -1], [0, 0], [7, 0]]))
    assert result.step.tolist() == pytest.approx([1 / 3, 0])
    assert result.shares is not None
    assert result.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_drops_as_many_as_it_is_told() -> None:
    # Mean 4; squares 16, 9, 1, 9, 1 ... of 0 1 3 7 9: farthest from 4 are 9, then 0.
    round_ = updates(numbers(0, 1, 3, 7, 9))
    assert apply(DnC(byzantine=1), round_).step.tolist() == pytest.approx([11 / 4])
    assert apply(DnC(byzantine=1, drop=2), round_).step.tolist() == pytest.approx([11 / 3])
    assert apply(DnC(byzantine=1, drop=1.5), round_).step.tolist() == pytest.approx([11 / 3])
    assert apply(DnC(byzantine=0), round_).step.tolist() == pytest.approx([4])
    # 1.12 times 25 is a little more than 28.
    many = updates(np.random.default_rng(0).normal(size=(51, 3)))
    shares = apply(DnC(byzantine=25, drop=1.12), many).shares
    assert shares is not None
    assert int((shares > 0).sum()) == 23


def test_the_lowest_id_is_kept_of_a_tie() -> None:
    # Mean 0; both ends are as far.
    shares = apply(DnC(byzantine=1), updates(numbers(-1, 0, 1))).shares
    assert shares is not None
    assert shares.tolist() == [0.5, 0.5, 0]
    for values, left in (((-1, 0, 1), [0, 0.5, 0.5]), ((9, 0, 1), [0, 0.5, 0.5]), ((0, 1, 9), [0.5, 0.5, 0])):
        shares = apply(DnC(byzantine=1), replace(updates(numbers(*values)), clients=torch.tensor([7, 5, 3]))).shares
        assert shares is not None
        assert shares.tolist() == left


@steady
@given(st.data(), st.integers(0, 2), st.integers(1, 3), st.integers(1, 4), st.integers(0, 9))
def test_by_definition(data: st.DataObject, byzantine: int, times: int, count: int, seed: int) -> None:
    drawn: Drawn = data.draw(rounds(least=2 * byzantine + 1, ties=False))
    d = drawn.rows.shape[1]
    rule, played = DnC(byzantine, iterations=times, coordinates=count, seed=seed), 3
    columns = drawn_columns(seed, played, d, count, times) if count < d else [list(range(d))]
    kept = filter_definitions.dnc_kept(drawn.rows, columns, byzantine)
    memory = {"round": torch.tensor(played)}
    if not kept:
        with pytest.raises(Refused):
            apply(rule, drawn.updates, memory)
        return
    result = apply(rule, drawn.updates, memory)
    close(result.step, drawn.rows[kept].mean(axis=0), drawn.rows)
    assert result.shares is not None
    assert result.shares.nonzero().flatten().tolist() == kept
    assert int(result.memory["round"]) == played + 1


@pytest.mark.parametrize("far", [1.0, 30.0, 1e30])
def test_colluders_off_the_mean_are_left_out(far: float) -> None:
    # Alike, and in every coordinate well inside the spread of the honest: but together.
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(8, 3000))
    colluders = np.tile(honest.mean(axis=0) - far * honest.std(axis=0), (3, 1))
    shares = apply(DnC(byzantine=3, iterations=3, coordinates=1000), updates(np.vstack([colluders, honest]))).shares
    assert shares is not None
    assert shares[:3].tolist() == [0, 0, 0]


def test_every_round_looks_at_other_coordinates() -> None:
    # Row k sticks out in coordinate k alone: whoever is left out tells which was looked at.
    rule, round_ = DnC(byzantine=1, coordinates=1), updates(9 * np.eye(8))
    memory, left_out = rule.init(flat(8)), []
    for _ in range(6):
        _, memory, shares, _ = rule(round_, memory)
        assert shares is not None
        left_out.append(int((shares == 0).nonzero()))
    assert left_out == [drawn_columns(0, played, 8, 1, 1)[0][0] for played in range(6)]
    assert len(set(left_out)) > 2


def test_refuses_half_byzantine() -> None:
    with pytest.raises(Refused) as refusal:
        apply(DnC(byzantine=2), updates(numbers(1, 2, 3, 4)))
    assert str(refusal.value) == (
        "dnc refuses n = 4 uploads with byzantine = 2: it needs n >= 2 f + 1 = 5; at n = 4 the largest byzantine is 1"
    )


def test_refuses_to_leave_out_everybody() -> None:
    DnC(byzantine=2, drop=2.5).require(6)
    with pytest.raises(Refused) as refusal:
        DnC(byzantine=2, drop=2.5).require(5)
    assert str(refusal.value) == (
        "dnc refuses n = 5 uploads with byzantine = 2 and drop = 2.5: it needs n >= 6, "
        "for it leaves out 5 each time; lower drop"
    )


def test_refuses_a_round_in_which_nobody_is_kept_every_time() -> None:
    rule = DnC(byzantine=1, iterations=60, coordinates=1)
    with pytest.raises(Refused) as refusal:
        apply(rule, updates(9 * np.eye(5)))
    assert str(refusal.value) == (
        "dnc refuses this round of n = 5 uploads with byzantine = 1: of 60 times, each leaving out 1, "
        "nobody was kept every time; lower iterations or drop"
    )
