"""Rounds that change nothing: when, why, and how they are counted."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from builders import StubCarrier, StubRule, flat, stub_world

from fedsim.domain import Aggregate, Drop
from fedsim.engine.round import play_round

NAN = math.nan


def carrying(world, rows):
    return replace(world, carrier=StubCarrier(rows))


def test_keeps_everything_and_counts_up_until_a_good_round():
    world = stub_world([[1.0], [3.0]], rule=StubRule(least=2), server={"momentum": 0.5})
    bad = carrying(world, {0: [1.0], 1: [NAN]})
    state, _ = play_round(world.start(torch.zeros(1)), world)  # velocity 2, params 2
    for count in (1, 2):
        state, played = play_round(state, bad)
        assert played.skipped == "stub refuses n = 1"
        assert played.dropped == (Drop(1, "non-finite"),)
        assert state.params.tolist() == [2]
        assert state.momentum.tolist() == [2]
        assert state.memory["rounds"].tolist() == [1]
        assert (state.round, state.skipped) == (1 + count, count)
        assert "step_norm" not in played.measures
    state, played = play_round(state, world)  # velocity 0.5 * 2 + 2
    assert played.skipped is None
    assert state.params.tolist() == [5]
    assert (state.round, state.skipped) == (4, 0)


@pytest.mark.parametrize("rows", [{0: [NAN]}, {0: [math.inf]}, {0: [-math.inf]}])
def test_without_a_usable_upload(rows):
    rule = StubRule()
    world = stub_world(rows, rule=rule)
    state, played = play_round(world.start(torch.ones(1)), world)
    assert played.skipped == "no usable upload is left"
    assert state.params.tolist() == [1]
    assert rule.seen == []


def test_buffers_of_a_skipped_round_do_not_move():
    world = stub_world([[1.0, 5.0]], layout=flat(1, 1), rule=StubRule(least=2))
    state, played = play_round(world.start(torch.zeros(2)), world)
    assert played.skipped is not None
    assert state.params.tolist() == [0, 0]


def test_a_skipped_round_is_still_tested():
    world = stub_world([[1.0]], rule=StubRule(least=2))
    _, played = play_round(world.start(torch.zeros(1)), world)
    assert played.measures["accuracy"] == 0.25


@dataclass(frozen=True)
class Overflow(StubRule):
    """Gives a step that is not finite."""

    def __call__(self, updates, memory):
        return Aggregate(torch.tensor([math.inf, 0.0]))


def test_when_the_rules_step_is_not_finite():
    world = stub_world([[1.0, 2.0]], rule=Overflow())
    state, played = play_round(world.start(torch.zeros(2)), world)
    assert played.skipped == "the rule's step is not finite"
    assert state.params.tolist() == [0, 0]


def test_the_next_round_after_a_skipped_one_is_another():
    """Its clients are drawn anew, or an unlucky draw would be skipped for ever."""
    world = stub_world([[1.0]] * 12, chosen=4, rule=StubRule(least=5))
    state, first = play_round(world.start(torch.zeros(1)), world)
    _, second = play_round(state, world)
    assert (first.number, second.number) == (1, 2)
    assert first.clients != second.clients
