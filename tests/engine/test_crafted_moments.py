"""Poisoned clients and accomplices, who have something to upload at each of a round's moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from clients.adversary import Adversary, Schedule
from clients.backdoor import Backdoor
from clients.label_flip import LabelFlip
from fedsim.domain import Drop, View
from fedsim.engine.local import LocalCarrier
from fedsim.engine.round import play_round
from tests.engine.builders import StubAttack, flat, toy_shard, training_world
from tests.engine.striking import LATE, PARAMS, WAYS, at, struck
from tests.engine.watching import Noting, noted, walking_world

POISONED = {1: [[-1.0, 0.0], [-2.0, 0.0], [-3.0, 0.0]], 3: [[-4.0, 4.0], [-5.0, 5.0], [-6.0, 6.0]]}


def test_poisoned_clients_upload_their_whole_way() -> None:
    looks, _, record = struck(LabelFlip(), poisoned=POISONED)
    assert record.struck
    assert [look.rows for look in looks] == [
        at(moment, {client: way[moment] for client, way in POISONED.items()}) for moment in range(3)
    ]


def test_late_poisoned_clients_upload_the_end_of_it() -> None:
    looks, _, _ = struck(LabelFlip(), poisoned=POISONED, schedule=LATE)
    assert [look.rows for look in looks] == [at(0, {}), at(1, {}), at(2, {1: [-3, 0], 3: [-6, 6]})]


def test_statistics_stay_honest_at_every_moment() -> None:
    """As the rule is shown weights only, they are read off what the carrier brought."""
    for attack, poisoned in ((StubAttack(value=-9.0), {}), (LabelFlip(), POISONED)):
        adversary = Adversary(attack, (1, 3))
        world = walking_world(WAYS, adversary=adversary, layout=flat(1, 1), poisoned=poisoned)
        brought = world.carrier.train([0, 1, 2, 3], PARAMS, 1)
        turn = world.forger.turn(brought, PARAMS, 1, 4)
        assert turn.strikes
        sent = [turn.ahead(0, {}).rows, turn.ahead(1, {}).rows, turn.sent({}).rows]
        assert [rows[:, 1].tolist() for rows in sent] == [[way[moment][1] for way in WAYS] for moment in range(3)]
        assert all(rows[1, 0] < 0 for rows in sent)


@pytest.mark.parametrize(
    "poisoned",
    [{1: POISONED[1]}, {client: way[1:] for client, way in POISONED.items()}],
    ids=["of one of two", "of two moments of three"],
)
def test_without_all_of_its_poisoned_work_nobody_strikes(poisoned: dict[int, Any]) -> None:
    looks, _, record = struck(LabelFlip(), poisoned=poisoned)
    assert not record.struck
    assert [look.rows for look in looks] == [at(moment, {}) for moment in range(3)]


def test_an_attacker_that_is_away_takes_no_part() -> None:
    attack = StubAttack(value=-9.0)
    looks, _, record = struck(attack, away=(1,))
    assert record.dropped == (Drop(1, "absent"),)
    assert [look.clients for look in looks] == [[0, 2, 3]] * 3
    assert [look.rows[2] for look in looks] == [[-9, -9]] * 3


@pytest.mark.parametrize("pace", [1, 3])
def test_a_poisoned_clients_longer_way_is_seen_at_matching_moments(pace: int) -> None:
    attack = Backdoor(size=1, boost=1.0, pace=pace)
    shards = [toy_shard(client) for client in range(4)]
    world, _, params = training_world(shards, attack, (1, 2))
    assert isinstance(world.carrier, LocalCarrier)
    training = world.carrier.training.model_copy(update={"steps": 5, "lookahead_every": 2})
    carrier = replace(world.carrier, training=training)
    rule = Noting()
    world = replace(world, carrier=carrier, rule=rule, forger=replace(world.forger, carrier=carrier))
    play_round(world.start(params), world)
    assert len(rule.noted) == 3
    for look, steps in zip(rule.noted, (2, 4, 5), strict=True):
        longer = training.model_copy(update={"steps": steps, "lookahead_every": 0})
        alone = replace(carrier, training=longer)
        honest, poisoned = alone.train(range(4), params, 1), alone.train([1, 2], params, 1, poisoned=True)
        expected = honest.rows.clone()
        expected[[1, 2]] = poisoned.rows
        assert look.rows == expected[:, : world.layout.weights].tolist()


@dataclass
class Accomplices:
    """Clients that craft what they are told to, moment by moment; some fail at some."""

    lost: dict[tuple[int | str, ...], int]
    asked: list[tuple[int | str, ...]] = field(default_factory=list)

    def craft(self, view: View, clients: Sequence[int], *path: int | str) -> tuple[dict[int, Tensor], tuple[Drop, ...]]:
        """Minus the client's id."""
        self.asked.append(path)
        gone = self.lost.get(path)
        made = {client: torch.full_like(view.params, -float(client)) for client in clients if client != gone}
        return made, () if gone is None else (Drop(gone, "absent"),)


@pytest.mark.parametrize("late", [False, True])
def test_accomplices_are_asked_at_each_moment(late: bool) -> None:
    accomplices = Accomplices({})
    world = walking_world(WAYS, adversary=Adversary(StubAttack(), (1, 3), schedule=Schedule(late=late)))
    world = replace(world, forger=replace(world.forger, accomplices=accomplices))
    play_round(world.start(PARAMS), world)
    assert accomplices.asked == ([()] if late else [("lookahead", 0), ("lookahead", 1), ()])
    forged = {1: [-1.0, -1.0], 3: [-3.0, -3.0]}
    expected = [at(0, {} if late else forged), at(1, {} if late else forged), at(2, forged)]
    assert [look.rows for look in noted(world)] == expected


def test_an_accomplice_that_fails_at_a_moment_is_missed_at_that_one_only() -> None:
    accomplices = Accomplices({("lookahead", 1): 3})
    world = walking_world(WAYS, adversary=Adversary(StubAttack(), (1, 3)))
    world = replace(world, forger=replace(world.forger, accomplices=accomplices))
    _, record = play_round(world.start(PARAMS), world)
    assert [look.clients for look in noted(world)] == [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2, 3]]
    assert [look.rows[-1] for look in noted(world)] == [[-3, -3], [2, 2], [-3, -3]]
    assert record.dropped == (), "of the uploads that count, none was"
