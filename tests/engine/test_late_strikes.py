"""The adversary at a round's moments: what it is shown at each, what it uploads, and striking at the sync only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from numpy.random import Generator
from torch import Tensor

from clients.adversary import Adversary, Schedule, Stealth
from fedsim.domain import Knowledge, View
from fedsim.engine.round import play_round
from tests.engine.builders import StubAttack, stub_world
from tests.engine.striking import LATE, PARAMS, WAYS, at, struck
from tests.engine.watching import Noting, noted, walking_world


@dataclass(frozen=True)
class Drawing:
    """Uploads what it draws."""

    needs: ClassVar[Knowledge] = "own"
    drawn: list[Tensor] = field(default_factory=list)

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """Nothing."""

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """Draws."""
        self.drawn.append(torch.from_numpy(rng.standard_normal(view.own.shape)).float())
        return self.drawn[-1].clone()


def test_forges_at_every_moment() -> None:
    looks, state, record = struck(StubAttack(value=-9.0))
    assert [look.rows for look in looks] == [at(moment, {1: [-9, -9], 3: [-9, -9]}) for moment in range(3)]
    assert record.struck
    assert record.measures["forged_norm"] == pytest.approx(162**0.5)
    assert state.params.tolist() == [5 - 9 / 4, 7 - 12 / 4]


def test_is_asked_at_each_moment_with_that_moments_rows() -> None:
    attack = StubAttack()
    struck(attack, knowledge="honest")
    assert [view.own.tolist() for view in attack.shown] == [[[0, 1], [4, 4]], [[0, 2], [5, 5]], [[0, 3], [6, 6]]]
    honest = [[[1, 0], [1, 1]], [[2, 0], [2, 2]], [[3, 0], [6, 6]]]
    assert [view.honest.tolist() for view in attack.shown if view.honest is not None] == honest
    assert all(torch.equal(view.params, PARAMS) for view in attack.shown)
    assert {(view.round, view.n, view.poisoned, view.last, view.rule) for view in attack.shown} == {
        (1, 4, None, None, None)
    }


def test_each_moment_has_draws_of_its_own_and_the_sync_those_it_has_alone() -> None:
    attack, alone = Drawing(), Drawing()
    first, _, _ = struck(attack)
    again, _, _ = struck(Drawing())
    assert [look.rows for look in first] == [look.rows for look in again]
    for place, rows in enumerate(attack.drawn):
        assert not any(torch.equal(rows, others) for others in attack.drawn[:place])
    world = stub_world([way[-1] for way in WAYS], adversary=Adversary(alone, (1, 3)))
    play_round(world.start(PARAMS), world)
    assert torch.equal(attack.drawn[-1], alone.drawn[0])
    late = Drawing()
    struck(late, schedule=LATE)
    assert torch.equal(late.drawn[0], alone.drawn[0])


def test_late_strikes_at_the_sync_only() -> None:
    attack = StubAttack(value=-9.0)
    looks, _, record = struck(attack, schedule=LATE, knowledge="honest")
    assert [look.rows for look in looks] == [at(0, {}), at(1, {}), at(2, {1: [-9, -9], 3: [-9, -9]})]
    assert record.struck
    (view,) = attack.shown
    assert view.own.tolist() == [[0, 3], [6, 6]]


@pytest.mark.parametrize("late", [False, True])
def test_in_a_round_without_a_strike_all_are_honest(late: bool) -> None:
    attack = StubAttack()
    looks, _, record = struck(attack, schedule=Schedule(start=2, late=late))
    assert [look.rows for look in looks] == [at(moment, {}) for moment in range(3)]
    assert not record.struck
    assert attack.shown == []


def test_late_pulses_strike_in_their_rounds() -> None:
    attack = StubAttack(value=-9.0)
    world = walking_world(WAYS, adversary=Adversary(attack, (1,), schedule=Schedule(start=2, every=2, late=True)))
    state = world.start(PARAMS)
    for _ in range(4):
        state, _ = play_round(state, world)
    assert [look.rows[1] == [-9, -9] for look in noted(world)] == [False] * 5 + [True] + [False] * 5 + [True]


def test_stealth_blends_each_moment_with_its_own_honest_rows() -> None:
    looks, _, _ = struck(StubAttack(value=0.0), stealth=Stealth(0.25))
    expected = [[0, 0.75], [0, 1.5], [0, 2.25]]
    assert [look.rows[1] for look in looks] == expected
    assert [look.rows[3] for look in looks] == [[3, 3], [3.75, 3.75], [4.5, 4.5]]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("knowledge", ["own", "honest", "rule"])
def test_who_knows_the_rule_knows_what_it_remembers_by_then(knowledge: Knowledge, late: bool) -> None:
    attack = StubAttack()
    rule = Noting()
    schedule = Schedule(late=late)
    world = walking_world(WAYS, rule=rule, adversary=Adversary(attack, (1,), knowledge, schedule))
    state, _ = play_round(world.start(PARAMS), world)
    play_round(state, world)
    shown = [view.memory for view in attack.shown]
    if knowledge != "rule":
        assert shown == [None] * len(shown)
        return
    looks = [float(memory["looks"]) for memory in shown if memory is not None]
    assert looks == ([2, 4] if late else [0, 1, 2, 2, 3, 4])
    assert all(view.rule is rule for view in attack.shown)


def test_attacks_get_a_copy_of_what_the_rule_remembers() -> None:
    @dataclass(frozen=True)
    class Meddling(StubAttack):
        def __call__(self, view: View, rng: Generator) -> Tensor:
            assert view.memory is not None
            view.memory["looks"].fill_(77)
            return super().__call__(view, rng)

    looks, _, _ = struck(Meddling(), knowledge="rule")
    assert [look.looks for look in looks] == [0, 1, 2]
