"""What a rule that watches is shown in a round, what it remembers of it, and what that changes."""

from __future__ import annotations

import math

import pytest
import torch

from fedsim.domain import Drop
from fedsim.engine.round import play_round
from tests.engine.builders import StubRule, flat, stub_world
from tests.engine.watching import Noting, Seen, Trailing, noted, walking_world

NAN = math.nan

WAYS = [
    [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]],
    [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]],
    [[1.0, 1.0], [2.0, 2.0], [6.0, 6.0]],
]
"""Two uploads ahead, and the sync's."""

PARAMS = [5.0, 7.0]


def seen(rows: list[list[float]], ahead: bool = True, rounds: int = 0, looks: int = 0, **other: list[float]) -> Seen:
    """All three clients' rows, as the rule should be shown them."""
    shown = {"clients": [0, 1, 2], "weights": [1.0] * 3, "params": PARAMS, **other}
    return Seen(ahead, rows, rounds=rounds, looks=looks, **shown)  # type: ignore[arg-type]


def test_lookahead_in_order_and_then_the_sync() -> None:
    world = walking_world(WAYS)
    state, record = play_round(world.start(torch.tensor(PARAMS)), world)
    assert noted(world) == [
        seen([[1, 0], [0, 1], [1, 1]]),
        seen([[2, 0], [0, 2], [2, 2]], looks=1),
        seen([[3, 0], [0, 3], [6, 6]], ahead=False, looks=2),
    ]
    assert state.params.tolist() == [5 + 3, 7 + 3], "only the sync moves the model"
    assert {name: float(value) for name, value in state.memory.items()} == {"rounds": 1, "looks": 2}
    assert record.measures["honest_norm"] == pytest.approx((3 + 3 + 72**0.5) / 3)
    play_round(state, world)
    assert noted(world)[3:] == [
        seen([[1, 0], [0, 1], [1, 1]], rounds=1, looks=2, params=[8, 10]),
        seen([[2, 0], [0, 2], [2, 2]], rounds=1, looks=3, params=[8, 10]),
        seen([[3, 0], [0, 3], [6, 6]], False, rounds=1, looks=4, params=[8, 10]),
    ]


def test_what_was_seen_moves_the_model_of_a_rule_that_goes_by_it() -> None:
    # Clients count 1, 2, 3 of 6: looks (4, 5)/6, (8, 10)/6, (21, 24)/6, each with 0.05 and 0.07 of the model.
    # The trail at the sync: (4/24 + 8/12 + 21/6 + 0.05 (1/4 + 1/2 + 1), ...).
    world = walking_world(WAYS, rule=Trailing())
    state, _ = play_round(world.start(torch.tensor(PARAMS)), world)
    trail = [4 / 24 + 8 / 12 + 21 / 6 + 0.0875, 5 / 24 + 10 / 12 + 24 / 6 + 0.1225]
    assert state.memory["trail"].tolist() == pytest.approx(trail)
    assert state.params.tolist() == pytest.approx([8 + trail[0] / 4, 10 + trail[1] / 4])


def test_a_rule_that_does_not_watch_goes_by_the_sync_alone() -> None:
    rule = StubRule()
    world = walking_world(WAYS, rule=rule)
    blind = stub_world([way[-1] for way in WAYS])
    found, record = play_round(world.start(torch.tensor(PARAMS)), world)
    expected, other = play_round(blind.start(torch.tensor(PARAMS)), blind)
    assert torch.equal(found.params, expected.params)
    assert found.memory == expected.memory
    assert len(rule.seen) == 1
    assert {**record.measures, "train_loss": None} == {**other.measures, "train_loss": None}


def test_shows_weights_and_no_statistics() -> None:
    world = walking_world(WAYS, layout=flat(1, 1))
    play_round(world.start(torch.tensor(PARAMS)), world)
    assert [look.rows for look in noted(world)] == [[[1], [0], [1]], [[2], [0], [2]], [[3], [0], [6]]]
    assert [look.params for look in noted(world)] == [[5]] * 3


def test_weights_are_those_of_the_sync() -> None:
    server = {"weighting": "examples", "weight_cap": 20}
    world = walking_world(WAYS, server=server, examples={0: 10, 1: 30, 2: 0})
    play_round(world.start(torch.tensor(PARAMS)), world)
    assert [look.weights for look in noted(world)] == [[10, 20, 0]] * 3


def test_only_those_chosen_and_present_are_seen() -> None:
    ways = {client: [[float(client)], [10.0 * client]] for client in range(8) if client != 5}
    world = walking_world(ways, clients=8, chosen=4)
    state = world.start(torch.zeros(1))
    for number in range(1, 9):
        state, record = play_round(state, world)
        there = [client for client in world.sample(number) if client != 5]
        assert record.dropped == (() if len(there) == 4 else (Drop(5, "absent"),))
        ahead, sync = noted(world)[-2:]
        assert ahead.clients == sync.clients == there
        assert ahead.rows == [[client] for client in there]
    assert any(5 in world.sample(number) for number in range(1, 9))


def test_nobody_there_is_not_looked_at() -> None:
    world = walking_world(WAYS, away=range(3))
    before = world.start(torch.tensor(PARAMS))
    after, record = play_round(before, world)
    assert record.skipped == "no usable upload is left"
    assert noted(world) == []
    assert after.memory == before.memory


def test_what_is_not_finite_is_shown_ahead_and_dropped_at_the_sync() -> None:
    ways = [WAYS[0], [[NAN, 1.0], [0.0, math.inf], [0.0, 3.0]], [[1.0, 1.0], [2.0, 2.0], [NAN, 6.0]]]
    world = walking_world(ways)
    state, record = play_round(world.start(torch.tensor(PARAMS)), world)
    first, second, sync = noted(world)
    assert (first.clients, second.clients, sync.clients) == ([0, 1, 2], [0, 1, 2], [0, 1])
    assert math.isnan(first.rows[1][0])
    assert second.rows[1] == [0, math.inf]
    assert sync.rows == [[3, 0], [0, 3]]
    assert record.dropped == (Drop(2, "non-finite"),)
    assert state.params.tolist() == [6.5, 8.5]


def test_a_skipped_round_is_forgotten() -> None:
    rule = Noting(least=3)
    world = walking_world(WAYS, rule=rule)
    state, _ = play_round(world.start(torch.tensor(PARAMS)), world)
    lost = walking_world([*WAYS[:2], [[1.0, 1.0], [2.0, 2.0], [NAN, NAN]]], rule=rule)
    after, record = play_round(state, lost)
    assert record.skipped == "stub refuses n = 2"
    assert [look.looks for look in rule.noted[3:]] == [2, 3, 4], "it did look"
    assert after.memory == state.memory
    assert torch.equal(after.params, state.params)
    again, _ = play_round(after, world)
    assert rule.noted[6].looks == 2
    assert float(again.memory["looks"]) == 4


def test_a_rule_that_refuses_to_look_still_settles_the_sync() -> None:
    world = walking_world(WAYS, rule=Noting(blind=True))
    state, record = play_round(world.start(torch.tensor(PARAMS)), world)
    assert record.skipped is None
    assert [(look.ahead, look.looks) for look in noted(world)] == [(False, 0)]
    assert state.params.tolist() == [8, 10]


def test_the_same_state_played_again_gives_the_same() -> None:
    world = walking_world(WAYS, rule=Trailing())
    state, _ = play_round(world.start(torch.tensor(PARAMS)), world)
    before = {name: value.clone() for name, value in state.memory.items()}
    one, first = play_round(state, world)
    other, second = play_round(state, world)
    assert torch.equal(one.params, other.params)
    assert repr(first) == repr(second)
    assert all(torch.equal(state.memory[name], value) for name, value in before.items())
