"""The same experiment on the local carrier and on a grid: everything that lasts of it must be the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from fedsim.app import trusting
from fedsim.build import Experiment, experiment
from fedsim.domain import Round, ServerState
from fedsim.engine.round import play_round
from tests.flower.federations import configured, on_grid
from tests.flower.grids import InProcessGrid

TRAILING: Mapping[str, Any] = {"name": "tests.engine.watching:Trailing"}
STEPS: Mapping[str, Any] = {"steps": 5, "batch_size": 16, "learning_rate": 0.3, "lookahead_every": 2}
LOOP: Mapping[str, Any] = {"deadline": 30.0, "batching": "loop"}
WIRE: Mapping[str, Any] = {**LOOP, "carrier": "flower", "adversary": "clients"}
BASE: Mapping[str, Any] = {"strategy": TRAILING, "training": STEPS, "engine": LOOP}
"""A rule that watches, two uploads ahead of the sync's, and clients of this process one after the other."""


def states(built: Experiment) -> tuple[ServerState, list[Round]]:
    """The state after all rounds, and what was written down about each."""
    state, rounds = built.state, []
    for _ in range(built.config.rounds):
        state, record = play_round(state, built.world)
        rounds.append(record)
    return state, rounds


def assert_equal(found: ServerState, expected: ServerState) -> None:
    """To the byte."""
    assert torch.equal(found.params, expected.params)
    assert torch.equal(found.momentum, expected.momentum)
    assert list(found.memory) == list(expected.memory)
    assert all(torch.equal(found.memory[name], value) for name, value in expected.memory.items())
    assert (found.kept is None) == (expected.kept is None)
    if found.kept is not None and expected.kept is not None:
        assert torch.equal(found.kept, expected.kept)


def assert_same(
    grid: InProcessGrid | None = None, wire: bool = False, **sections: Any
) -> tuple[ServerState, InProcessGrid]:
    """The experiment's end, the same both ways, and the grid; ``wire``: attackers on it craft themselves."""
    here, records = states(experiment(configured(**{**BASE, **sections})))
    grid = grid or InProcessGrid.of(trusting, 11)
    engine = WIRE if wire else LOOP
    there, others = states(on_grid(configured(**{**BASE, **sections, "engine": engine}), grid))
    assert_equal(there, here)
    # repr, for not a number is not itself.
    assert repr(others) == repr(records)
    assert not any(record.dropped or record.skipped for record in records)
    return here, grid
