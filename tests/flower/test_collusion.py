"""The adversary on the wire: malicious clients who are shown what the threat model grants upload the same bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from numpy.random import Generator
from torch import Tensor, nn

from clients import ATTACKS
from fedsim.app import app
from fedsim.domain import KNOWLEDGE, Attack, Knowledge, Refused, Updates, View
from tests.clients.views import EXAMPLES
from tests.flower.colluding import ATTACKERS, IPM, assert_same
from tests.flower.grids import InProcessGrid


def section(name: str, attack: Any, knowledge: str) -> dict[str, Any]:
    """The attack section that makes ``attack``."""
    own = {field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)}
    own = {key: value for key, value in own.items() if value is not None}
    return {"name": name, "clients": ATTACKERS, "knowledge": knowledge, **own}


def cases() -> list[tuple[str, Attack, Knowledge]]:
    """An example of every attack of the table under all that it may be shown."""
    return [
        (name, EXAMPLES[name][0], knowledge)
        for name in ATTACKS.entries
        for knowledge in KNOWLEDGE
        if KNOWLEDGE.index(knowledge) >= KNOWLEDGE.index(EXAMPLES[name][0].needs)
    ]


@pytest.mark.parametrize(("name", "attack", "knowledge"), cases(), ids=str)
def test_every_attack_with_all_that_it_may_be_shown(name: str, attack: Attack, knowledge: str) -> None:
    rounds = 2
    grid = assert_same(attack=section(name, attack, knowledge), rounds=rounds)
    # No attack has no clients.
    assert len(grid.shown) == (rounds * len(ATTACKERS) if name != "none" else 0)


@pytest.mark.parametrize(
    "sections",
    [
        {"attack": {**IPM, "stealth": 0.25, "stealth_final": 0.75}},
        {"attack": {**IPM, "probability": 0.5, "start": 2}, "rounds": 4},
        {"clients": {"count": 11, "per_round": 5}, "attack": {**IPM, "clients": 5}, "rounds": 4},
        {"attack": {"name": "sign_flip", "clients": 11}},
        {"attack": {"name": "label_flip", "clients": ATTACKERS, "stealth": 0.5}},
        {"strategy": {"name": "bucketing", "size": 2, "rule": {"name": "median"}}, "attack": IPM},
        {"server": {"weighting": "examples", "momentum": 0.5}, "attack": IPM},
    ],
    ids=["stealth", "schedule", "sampling", "everyone", "poison", "a rule that draws", "server"],
)
def test_whatever_else_is_set(sections: dict[str, Any]) -> None:
    assert_same(**sections)


@dataclass(frozen=True)
class Everything:
    """Uses all that a view may hold."""

    needs: ClassVar[Knowledge] = "rule"

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """At least two."""
        if f < 2:
            raise Refused("alone")

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """A row for each, from its data, all others' updates, the rule and what that remembers."""
        assert view.rule is not None
        assert view.memory is not None
        assert view.honest is not None
        everyone = torch.cat([view.own, view.honest])
        n = len(everyone)
        step = view.rule(Updates(everyone, torch.ones(n), torch.arange(n)), view.memory).step
        samples = torch.tensor([data.inputs.sum() + data.labels.sum() for data in view.data])
        factors = torch.from_numpy(rng.standard_normal(len(view.own))).float() / view.n / view.round
        kept = sum(memory.sum() for memory in view.memory.values()) / view.layout.weights
        return -step * (1 + factors[:, None]) + view.params * samples[:, None] * 1e-6 + kept


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "centered_clipping", "radius": 0.1},
        {"name": "nnm", "byzantine": 3, "rule": {"name": "bucketing", "size": 2, "rule": {"name": "mean"}}},
    ],
    ids=lambda strategy: strategy["name"],
)
def test_the_rule_and_what_it_remembers_are_shown(strategy: dict[str, Any]) -> None:
    attack = {"name": f"{__name__}:Everything", "clients": ATTACKERS, "knowledge": "rule"}
    assert_same(strategy=strategy, attack=attack)


@dataclass(frozen=True)
class WithStatistics:
    """A net with BatchNorm."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Of one layer."""
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, classes))


def test_statistics_stay_what_they_honestly_were() -> None:
    assert_same(model={"name": f"{__name__}:WithStatistics"}, attack=IPM)


def test_a_client_that_does_not_trust_the_server_crafts_too() -> None:
    grid = InProcessGrid.of(app, 11)
    assert_same(grid, attack={**IPM, "knowledge": "rule"}, strategy={"name": "centered_clipping", "radius": 0.1})
    assert len(grid.shown) == 3 * len(ATTACKERS)
