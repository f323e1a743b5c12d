"""SignGuard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Mistake, Refused
from fedsim.seeds import stream
from strategies import SignGuard
from tests.strategies import filter_definitions
from tests.strategies.rounds import Drawn, apply, close, flat, numbers, rounds, steady, updates


def kept(rule: SignGuard, rows: np.ndarray) -> list[int]:
    shares = apply(rule, updates(rows)).shares
    assert shares is not None
    return [int(client) for client in shares.nonzero().flatten()]


def test_by_hand() -> None:
    # Lengths 5, 5, 10, 5, 50 with median 5: the last is too long. Signs ++, ++, ++, --, ++.
    # (3, 4), (4, 3) and half of (6, 8), over three.
    rows = [[3, 4], [4, 3], [6, 8], [-4, -3], [30, 40]]
    result = apply(SignGuard(coordinates=1.0), updates(rows))
    assert result.step.tolist() == pytest.approx([10 / 3, 11 / 3])
    assert result.shares is not None
    assert result.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])


def test_counts_zeros_as_a_sign_of_their_own() -> None:
    rows = np.array([[1, 1, 0, 0], [2, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]])
    assert kept(SignGuard(coordinates=1.0), rows) == [0, 1, 2]
    # By their positive and negative signs alone, the fourth is like the last three.
    signs = [[0, -1, -1, -1], [-1, -1, -1, 1], [0, 1, 0, 0], [1, 1, 0, 0], [0, 1, -1, 1], [1, -1, 0, 1], [0, -1, 1, 1]]
    assert kept(SignGuard(coordinates=1.0), np.array(signs)) == [4, 5, 6]


def test_who_is_out_of_reach_of_all_is_in_no_cluster() -> None:
    rows = np.array([[-1, 1], [-1, 0], [-1, -1], [0, 0], [0, -1], [-1, -1], [-1, 1]])
    assert kept(SignGuard(coordinates=1.0, shortest=0.0), rows) == [0, 1, 2, 4, 5, 6]


def test_lengths_at_the_bounds_are_usual() -> None:
    rows = np.array(numbers(1, 2, 2, 2, 6))
    assert kept(SignGuard(shortest=0.5, coordinates=1.0), rows) == [0, 1, 2, 3, 4]
    assert kept(SignGuard(shortest=0.51, longest=2.9, coordinates=1.0), rows) == [1, 2, 3]


def test_of_equal_clusters_that_of_the_lowest_id_counts() -> None:
    rows = np.array([[-1.0, -1], [1, 1], [-1, -1], [1, 1]])
    assert kept(SignGuard(coordinates=1.0), rows) == [0, 2]
    assert kept(SignGuard(coordinates=1.0), -rows) == [0, 2]


@steady
@given(rounds(more=9), st.sampled_from([0.2, 0.5, 1.0]), st.integers(0, 9), st.sampled_from([0.1, 0.9]))
def test_by_definition(drawn: Drawn, share: float, seed: int, shortest: float) -> None:
    d = drawn.rows.shape[1]
    rule, played = SignGuard(shortest=shortest, longest=1.5, coordinates=share, seed=seed), 2
    count = max(1, round(share * d))
    columns = stream(seed, "signguard", played).choice(d, count, replace=False, shuffle=False).tolist()
    expected = filter_definitions.signguard_kept(drawn.rows, columns, shortest, 1.5)
    memory = {"round": torch.tensor(played)}
    if not expected:
        with pytest.raises(Refused):
            apply(rule, drawn.updates, memory)
        return
    result = apply(rule, drawn.updates, memory)
    assert result.shares is not None
    assert result.shares.nonzero().flatten().tolist() == expected
    close(result.step, filter_definitions.shortened_mean(drawn.rows, expected), drawn.rows)
    assert int(result.memory["round"]) == played + 1


@pytest.mark.parametrize("attack", ["turned round", "of another length", "shifted alike"])
def test_keeps_out(attack: str) -> None:
    # Honest entries have 69 of 100 signs right; shifted by 1.5 deviations against the mean, as colluders do who hide
    # within the spread of every coordinate, hardly any.
    rng = np.random.default_rng(4)
    honest = 0.5 + rng.normal(size=(8, 4000))
    crafted = {
        "turned round": -honest[:3],
        "of another length": 1e30 * honest[:3],
        "shifted alike": np.tile(honest.mean(axis=0) - 1.5 * honest.std(axis=0), (3, 1)),
    }[attack]
    assert set(kept(SignGuard(byzantine=3), np.vstack([crafted, honest]))) <= set(range(3, 11))


def test_every_round_looks_at_other_coordinates() -> None:
    # Row k is negative in coordinate k alone: whoever is left out tells which was looked at.
    rule, round_ = SignGuard(coordinates=1 / 8), updates(1 - 2 * np.eye(8))
    memory, left_out = rule.init(flat(8)), []
    for _ in range(6):
        _, memory, shares, _ = rule(round_, memory)
        assert shares is not None
        left_out.append(int((shares == 0).nonzero()))
    assert len(set(left_out)) > 2
    again = rule(round_, {"round": torch.tensor(2)}).shares
    assert again is not None
    assert int((again == 0).nonzero()) == left_out[2]


def test_updates_of_zeros_are_followed() -> None:
    assert apply(SignGuard(), updates(np.zeros((4, 3)))).step.tolist() == [0, 0, 0]


@pytest.mark.parametrize("positive", range(12))
def test_who_all_have_the_same_signs_are_one_cluster(positive: int) -> None:
    # Elevenths are rounded: between equal statistics, scikit-learn may measure a distance of 1e-8.
    rows = np.tile(np.where(np.arange(11) < positive, 1.0, -1.0), (20, 1))
    assert kept(SignGuard(coordinates=1.0), rows) == list(range(20))


def test_refuses_half_byzantine() -> None:
    with pytest.raises(Refused) as refusal:
        SignGuard(byzantine=2).require(4)
    assert str(refusal.value) == (
        "signguard refuses n = 4 uploads with byzantine = 2: it needs n >= 2 f + 1 = 5; "
        "at n = 4 the largest byzantine is 1"
    )


def test_refuses_a_round_in_which_nobody_is_usual_in_both() -> None:
    # The first three have the usual signs, ++++; the other four, all different, the usual length.
    rows = [[9, 9, 9, 9]] * 3 + [[1, 1, -1, -1], [-1, -1, -1, -1], [1, 0, 0, 0], [0, 0, -1, -1]]
    with pytest.raises(Refused) as refusal:
        apply(SignGuard(coordinates=1.0), updates(rows))
    assert str(refusal.value) == (
        "signguard refuses this round of n = 7 uploads: 4 are of usual length, 3 of usual signs, and none is both"
    )


def test_refuses_bounds_that_leave_out_the_median() -> None:
    with pytest.raises(Mistake):
        SignGuard(shortest=1.1)
    with pytest.raises(Mistake):
        SignGuard(longest=0.9)
