"""What each client last trained its model to: who keeps theirs, whose it is, and that it is part of a checkpoint."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clients.adversary import Adversary
from clients.label_flip import LabelFlip
from fedsim.domain import Drop, Round, ServerState, Shards
from fedsim.engine.forging import Forger
from fedsim.engine.local import LocalCarrier
from fedsim.engine.round import play_round
from fedsim.results.checkpoint import dumps, load
from tests.engine.beside import ERM, dealt, made, tanh_net
from tests.engine.builders import StubAttack, StubRule, stub_world
from tests.engine.moving import IDLE, SIZES, TRAINING, moving, played_on


def test_those_who_are_not_chosen_keep_theirs() -> None:
    world, params = moving(0.5, chosen=2)
    states = played_on(world, params)
    for (before, _), (after, record) in itertools.pairwise(states):
        assert record is not None
        assert before.kept is not None
        assert after.kept is not None
        changed = (before.kept != after.kept).any(dim=1).nonzero().flatten().tolist()
        assert changed == [client for client in record.clients if client != IDLE or record.number > 1]


def walk(rows: Mapping[int, Sequence[float]], **world: Any) -> tuple[ServerState, ServerState, Round]:
    """A round of three clients at rate a half: before, after, and what was written down."""
    made = replace(stub_world(rows, clients=3, **world), moving_rate=0.5)
    before = replace(made.start(torch.tensor([10.0])), kept=torch.tensor([[1.0], [2.0], [3.0]]))
    return before, *play_round(before, made)


def test_one_whose_upload_does_not_come_keeps_its_own() -> None:
    _, after, record = walk({0: [4.0], 2: [6.0]})
    assert record.dropped == (Drop(1, "absent"),)
    assert after.kept is not None
    assert (after.params.tolist(), after.kept.tolist()) == ([15], [[14], [2], [16]])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_whose_upload_is_not_finite_keeps_its_own(bad: float) -> None:
    _, after, record = walk({0: [4.0], 1: [bad], 2: [6.0]})
    assert record.dropped == (Drop(1, "non-finite"),)
    assert after.kept is not None
    assert after.kept.tolist() == [[14], [2], [16]]


def test_in_a_skipped_round_clients_have_trained_and_the_server_stands() -> None:
    before, after, record = walk({0: [4.0], 1: [5.0], 2: [6.0]}, rule=StubRule(least=4))
    assert record.skipped == "stub refuses n = 3"
    assert torch.equal(after.params, before.params)
    assert after.kept is not None
    assert after.kept.tolist() == [[14], [15], [16]]


def test_the_adversarys_clients_go_on_from_what_they_honestly_would_have() -> None:
    attack = StubAttack(value=-9.0)
    _, after, record = walk({0: [4.0], 1: [5.0], 2: [6.0]}, adversary=Adversary(attack, (1,)))
    assert record.struck
    assert after.kept is not None
    assert after.kept.tolist() == [[14], [15], [16]]
    assert after.params.tolist() == pytest.approx([10 + 1 / 3])


def test_poisoned_work_begins_where_the_honest_does() -> None:
    model, shards = made(tanh_net), dealt(SIZES)
    world, params = moving(0.5)
    flipped = Shards(replace(shards.samples, labels=2 - shards.samples.labels), shards.places)
    carrier = LocalCarrier(model, shards, flipped, ERM, TRAINING, 0)
    rule = StubRule()
    own = {client: shards[client].copy() for client in (0, 3)}
    forger = Forger(Adversary(LabelFlip(), (0, 3)), carrier, own, model.layout, None, 0)
    world = replace(world, carrier=carrier, forger=forger, rule=rule)
    before = played_on(world, params, 2)[-1][0]
    rule.seen.clear()
    play_round(before, world)
    starts = world.starts(before, [0, 3])
    assert starts is not None
    assert bool((starts != before.params).any())
    expected = carrier.train([0, 3], before.params, 3, poisoned=True, starts=starts)
    assert torch.equal(rule.seen[0].deltas[[0, 3]], expected.rows)


@pytest.mark.parametrize("chosen", [None, 2])
def test_a_state_is_a_whole_checkpoint(chosen: int | None, tmp_path: Path) -> None:
    world, params = moving(0.3, chosen=chosen)
    states = played_on(world, params)
    for number, (state, _) in enumerate(states[:-1]):
        (tmp_path / "state").write_bytes(dumps(state))
        for again in (state, load(tmp_path / "state", world.start(params))):
            for expected, record in states[number + 1 :]:
                again, repeated = play_round(again, world)
                assert torch.equal(again.params, expected.params)
                assert torch.equal(again.kept, expected.kept)  # type: ignore[arg-type]
                assert repr(repeated) == repr(record)


def test_leaves_the_state_before_as_it_was() -> None:
    world, params = moving(0.3)
    state, _ = played_on(world, params, 2)[-1]
    assert state.kept is not None
    before = state.params.clone(), state.kept.clone()
    play_round(state, world)
    assert torch.equal(state.params, before[0])
    assert torch.equal(state.kept, before[1])
