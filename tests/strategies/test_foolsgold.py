"""FoolsGold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedsim.domain import Refused, ServerState, Updates
from fedsim.results import checkpoint
from strategies import FoolsGold
from tests.strategies import filter_definitions
from tests.strategies.rounds import Drawn, apply, close, flat, rounds, steady, updates


def among(rows: NDArray[np.float64], clients: Sequence[int]) -> Updates:
    """The uploads of these of the clients, a row each."""
    return Updates(updates(rows[list(clients)]).deltas, torch.ones(len(clients)), torch.tensor(clients))


def shares_of(rule: FoolsGold, round_: Updates, memory: Mapping[str, torch.Tensor] | None = None) -> list[float]:
    shares = apply(rule, round_, memory).shares
    assert shares is not None
    return [float(share) for share in shares]


def test_by_hand() -> None:
    # Cosines 0.6 of the first two, 0.8 of the last two, 0 of the others; v = 0.6, 0.8, 0.8.
    # The first is pardoned: 0.6 * 0.6 / 0.8 = 0.45. a = 0.55, 0.2, 0.2, by the largest 1, 4/11, 4/11.
    # ln((4/11) / (7/11)) + 1/2 = -0.0596: nothing.
    rows = [[1, 0], [0.6, 0.8], [0, 1]]
    assert shares_of(FoolsGold(), updates(rows)) == [1, 0, 0]
    # At cosine 0.5: v = 0.5, 0.5 and 0; a = 0.5, 0.5 and 1; ln 1 + 1/2.
    rows = [[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, 5]]
    result = apply(FoolsGold(), updates(rows))
    assert result.shares is not None
    assert result.shares.tolist() == pytest.approx([0.25, 0.25, 0.5])
    assert result.step.tolist() == pytest.approx([0.375, 0.25 * 0.75**0.5, 2.5])


@steady
@given(rounds(), st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 2**32))
def test_by_definition(drawn: Drawn, confidence: float, seed: int) -> None:
    rule, rng, n = FoolsGold(confidence), np.random.default_rng(seed), len(drawn.rows)
    memory, history = rule.init(flat(drawn.rows.shape[1])), np.zeros_like(drawn.rows)
    for _ in range(4):
        rows = drawn.rows * rng.choice([0.5, 1.0, 2.0], (n, 1))
        present = sorted(rng.choice(n, rng.integers(1, n + 1), replace=False).tolist())
        after = history.copy()
        after[present] += rows[present]
        weights = filter_definitions.foolsgold_weights(after[present], confidence)
        if sum(weights) == 0:
            with pytest.raises(Refused):
                apply(rule, among(rows, present), memory)
            continue
        step, memory, *_ = apply(rule, among(rows, present), memory)
        history = after
        close(step, np.average(rows[present], axis=0, weights=weights), rows)
        seen = memory["clients"].tolist()
        assert seen == sorted(set(seen))
        close(memory["history"], history[seen], history)


def test_any_number_of_sybils_weigh_less_than_one_honest_client() -> None:
    rng = np.random.default_rng(2)
    for sybils in (2, 9, 30):
        goal = rng.normal(size=200)
        rows = np.vstack([rng.normal(size=(4, 200)), goal + 0.05 * rng.normal(size=(sybils, 200))])
        shares = shares_of(FoolsGold(), updates(rows))
        assert sum(shares[4:]) == 0
        assert min(shares[:4]) > 0.2


def test_what_was_sent_before_counts_and_belongs_to_its_client() -> None:
    # 7 and 3 have always sent the same, 5 never; today all are at odds, and come in another order.
    rule, before = FoolsGold(), np.zeros((8, 3))
    before[[3, 7]], before[5] = [9, 0, 0], [0, 9, 0]
    memory = apply(rule, among(before, [3, 5, 7])).memory
    today = np.zeros((8, 3))
    today[3], today[5], today[7], today[1] = [0, 0.1, 0], [0.1, 0, 0], [0, 0, 0.1], [0, 0, 9]
    assert shares_of(rule, among(today, [1, 3, 5, 7]), memory) == pytest.approx([0.5, 0, 0.5, 0], abs=1e-2)
    assert shares_of(rule, among(today, [7, 5, 3, 1]), memory) == pytest.approx([0, 0.5, 0, 0.5], abs=1e-2)
    # Without a memory, they look like anyone.
    assert shares_of(rule, among(today, [3, 5, 7])) == pytest.approx([1 / 3] * 3)


def test_clients_that_are_not_chosen_are_remembered() -> None:
    rule, rows = FoolsGold(), np.eye(4)
    memory = apply(rule, among(rows, [3])).memory
    memory = apply(rule, among(rows, [0, 2]), memory).memory
    memory = apply(rule, among(rows, [2]), memory).memory
    assert memory["clients"].tolist() == [0, 2, 3]
    assert memory["history"].tolist() == [[1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]


def test_a_sum_that_overflows_keeps_its_direction() -> None:
    rule = FoolsGold()
    rows = np.array([[3e38, 0, 0], [3e38, 1e30, 0], [0, 0, 1]])
    memory = apply(rule, updates(rows)).memory
    for _ in range(3):
        result = apply(rule, updates(rows), memory)
        memory = result.memory
        assert torch.isfinite(result.step).all()
        assert result.shares is not None
        assert result.shares.tolist() == [0, 0, 1]


def test_pointing_away_from_everybody_is_no_likeness() -> None:
    # The cosines of the first are below 0; multiplied by v_1 / v_2 they would be above.
    rows = [[-1, -0.1, 0], [1, 0, 0.2], [0, 0.1, 1]]
    assert shares_of(FoolsGold(), updates(rows))[0] > 0.3


def test_the_memory_survives_a_checkpoint(tmp_path: Path) -> None:
    rule, rows = FoolsGold(), np.eye(3)
    empty = ServerState(0, torch.zeros(3), rule.init(flat(3)), torch.zeros(3))
    after = ServerState(1, torch.zeros(3), apply(rule, among(rows, [0, 2])).memory, torch.zeros(3))
    for state in (empty, after):
        path = tmp_path / "state.safetensors"
        path.write_bytes(checkpoint.dumps(state))
        read = checkpoint.load(path, empty).memory
        assert read.keys() == state.memory.keys()
        for name, tensor in state.memory.items():
            assert torch.equal(read[name], tensor)
            assert read[name].dtype == tensor.dtype


def test_refuses_a_round_in_which_everybody_has_a_double() -> None:
    rng = np.random.default_rng(3)
    for rows in (np.tile(rng.normal(size=50), (5, 1)), np.repeat(rng.normal(size=(2, 50)), 2, axis=0)):
        with pytest.raises(Refused) as refusal:
            apply(FoolsGold(), updates(rows))
        assert str(refusal.value) == (
            f"foolsgold refuses this round of n = {len(rows)} uploads: every client's updates have pointed the same "
            "way as another's, so that nobody is trusted; it needs clients whose data differ"
        )


def test_refuses_an_empty_round() -> None:
    with pytest.raises(Refused) as refusal:
        FoolsGold().require(0)
    assert str(refusal.value) == "foolsgold refuses n = 0 uploads: it needs n >= 1"
