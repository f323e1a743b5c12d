"""A malicious client that does not craft at one of a round's moments is missed at that moment and at no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsim.app import trusting
from fedsim.build import experiment
from fedsim.domain import Drop
from fedsim.server import observe, settle
from tests.flower.both_carriers import BASE, WIRE, states
from tests.flower.faults import CASES
from tests.flower.federations import configured, on_grid
from tests.flower.grids import Fault, InProcessGrid

BAD = 4
IPM = {"name": "ipm", "epsilon": 3.0, "clients": [1, 4, 7]}


def at_moment(moment: int, fault: Fault) -> Fault:
    """A fault of what is crafted at a moment, from 0, of three in each round."""
    count = iter(range(1 << 30))
    return lambda reply: fault(reply) if next(count) % 3 == moment else reply


def crafted(moment: int, case: str) -> Any:
    """A round in which client 4 fails at a moment."""
    fault = at_moment(moment, CASES[case].fault)
    grid = InProcessGrid.of(trusting, 11, forgeries={BAD: fault})
    return states(on_grid(configured(**{**BASE, "attack": IPM, "engine": WIRE, "rounds": 1}), grid))


def settled(*moments: int) -> Tensor:
    """The model after a round of the rule with client 4's row left out at these moments."""
    built = experiment(configured(**{**BASE, "attack": IPM, "rounds": 1}))
    world, state = built.world, built.state
    turn = world.forger.turn(world.carrier.train(range(11), state.params, 1), state.params, 1, 11)
    memory = state.memory
    kept = torch.arange(11) != BAD
    for number, uploads in enumerate([turn.ahead(0, {}), turn.ahead(1, {}), turn.sent({})]):
        there = kept if number in moments else torch.ones_like(kept)
        sent = replace(
            uploads, rows=uploads.rows[there], examples=uploads.examples[there], clients=uploads.clients[there]
        )
        if number < 2:
            memory = observe(memory, sent, state.params, world.rule, world.layout, world.server)
    return settle(state, sent, world.rule, world.layout, world.server, memory=memory).state.params


@pytest.mark.parametrize("case", ["raises", "says nothing", "one entry short", "extra array", "garbage"])
@pytest.mark.parametrize("moment", [0, 1, 2])
def test_one_that_fails_to_craft_is_missed_at_that_moment(moment: int, case: str) -> None:
    found, (record,) = crafted(moment, case)
    assert record.struck
    assert record.dropped == (() if moment < 2 else (Drop(BAD, CASES[case].reason),))
    assert torch.equal(found.params, settled(moment))


def test_one_that_never_answers_leaves_the_others_their_time_at_each_moment() -> None:
    """Honest work and three times of crafting each have a quarter of the deadline, and what was left before."""
    grid = InProcessGrid.of(trusting, 11, forgeries={BAD: CASES["never answers"].fault})
    sections = {**BASE, "attack": IPM, "engine": {**WIRE, "deadline": 3.0}, "rounds": 1}
    found, (record,) = states(on_grid(configured(**sections), grid))
    assert record.dropped == (Drop(BAD, "absent"),)
    assert torch.equal(found.params, settled(0, 1, 2))
