"""Asynchronous updating ends with the same bytes whether clients are of this process or nodes of a Flower grid."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from numpy.random import Generator
from torch import Tensor

from fedsim.app import app, trusting
from fedsim.build import experiment
from fedsim.domain import Knowledge, Updates, View
from fedsim.engine.grid import GridCarrier
from tests.engine.watching import Trailing
from tests.flower.both_carriers import BASE, LOOP, STEPS, WIRE, assert_equal, assert_same, states
from tests.flower.federations import configured, on_grid
from tests.flower.grids import InProcessGrid

ATTACKERS = [1, 4, 7]
IPM = {"name": "ipm", "epsilon": 3.0, "clients": ATTACKERS}
SLOW = {**STEPS, "moving_rate": 0.3}
POISON = {"name": "backdoor", "clients": ATTACKERS, "pace": 2}


@pytest.mark.parametrize(
    "training",
    [
        {**STEPS, "lookahead_every": 0},
        {**STEPS, "lookahead_every": 1},
        {**STEPS, "lookahead_every": 2},
        {**STEPS, "lookahead_every": 9},
        {"steps": 3, "batch_size": 16},
        {"steps": 3, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.01},
        {"epochs": 1, "batch_size": 64},
        {"epochs": 1, "batch_size": 64, "moving_rate": 0.5},
        {"algorithm": "fedsgd"},
        {**STEPS, "moving_rate": 0.3},
        {**STEPS, "lookahead_every": 0, "moving_rate": 0.3},
        {"moving_rate": 0.01},
    ],
    ids=str,
)
def test_any_training(training: dict[str, Any]) -> None:
    assert_same(training=training)


@pytest.mark.parametrize("training", [STEPS, SLOW], ids=["taken over", "kept"])
@pytest.mark.parametrize(
    "sections",
    [
        {"clients": {"count": 11, "per_round": 4}, "rounds": 4},
        {"attack": IPM},
        {"attack": {**IPM, "late": True}},
        {"attack": {**IPM, "stealth": 0.5, "every": 2}},
        {"attack": POISON},
        {"attack": {**POISON, "late": True}},
        {"attack": IPM, "clients": {"count": 11, "per_round": 5}, "rounds": 4},
        {"server": {"weighting": "examples", "momentum": 0.5}, "partition": {"name": "dirichlet", "alpha": 0.3}},
        {"strategy": {"name": "median"}, "attack": IPM},
    ],
    ids=[
        "sampling",
        "attack",
        "late",
        "stealth",
        "poison",
        "late poison",
        "sampled",
        "weights",
        "no rule that watches",
    ],
)
def test_whatever_else_is_set(sections: dict[str, Any], training: dict[str, Any]) -> None:
    assert_same(training=training, **sections)


@pytest.mark.parametrize("training", [STEPS, SLOW], ids=["taken over", "kept"])
@pytest.mark.parametrize(
    ("attack", "asked"),
    [
        ({**IPM, "knowledge": "own"}, 3),
        ({**IPM, "knowledge": "honest"}, 3),
        ({**IPM, "knowledge": "rule"}, 3),
        ({**IPM, "late": True}, 1),
        ({"name": "random", "clients": ATTACKERS}, 3),
        (POISON, 3),
        ({**POISON, "late": True}, 1),
        ({"name": "alie", "clients": ATTACKERS, "stealth": 0.5}, 3),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_malicious_clients_that_craft_themselves(attack: dict[str, Any], asked: int, training: dict[str, Any]) -> None:
    _, grid = assert_same(wire=True, attack=attack, training=training)
    assert len(grid.shown) == 3 * asked * len(ATTACKERS)


def test_an_attack_that_uses_all_that_it_may_be_shown() -> None:
    attack = {"name": "tests.flower.test_collusion:Everything", "clients": ATTACKERS, "knowledge": "rule"}
    strategy = {"name": "centered_clipping", "radius": 0.1}
    # Of a rule that watches, too: its memory is another at each moment.
    assert_same(wire=True, attack=attack, strategy=strategy)
    assert_same(wire=True, attack={**attack, "name": f"{__name__}:Reminded"})


@dataclass(frozen=True)
class Reminded:
    """Turns what the rule remembers against it."""

    needs: ClassVar[Knowledge] = "rule"

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """Nothing."""

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """Minus the trail as it would be, in other lengths."""
        assert isinstance(view.rule, Trailing)
        assert view.memory is not None
        clients = torch.arange(len(view.own))
        updates = Updates(view.own, torch.ones(len(view.own)), clients, params=view.params)
        trail, looks = (view.rule.observe(updates, view.memory)[name] for name in ("trail", "looks"))
        return -trail * torch.from_numpy(rng.random(len(view.own))).float()[:, None] / looks


def test_models_that_differ_are_told_apart() -> None:
    """The other way round: each of these matters to the end."""
    ends = [
        states(experiment(configured(**{**BASE, **sections})))[0].params
        for sections in (
            {},
            {"training": {**STEPS, "lookahead_every": 1}},
            {"training": {**STEPS, "lookahead_every": 0}},
            {"training": SLOW},
            {"attack": IPM},
            {"attack": {**IPM, "late": True}},
            {"attack": {"name": "random", "clients": ATTACKERS}},
            {"attack": POISON},
        )
    ]
    for place, end in enumerate(ends):
        assert not any(torch.equal(end, other) for other in ends[:place])


def test_clients_are_told_which_uploads_to_make() -> None:
    """Also where the configuration leaves it to the rule, of which they are not told."""
    built = on_grid(configured(**{**BASE, "training": {"steps": 4}}), grid := InProcessGrid.of(app, 11))
    assert isinstance(built.world.carrier, GridCarrier)
    assert built.world.carrier.lookahead == 3
    found, records = states(built)
    expected, _ = states(experiment(configured(**{**BASE, "training": {"steps": 4}})))
    assert_equal(found, expected)
    assert all("Trailing" not in str(order.content.config_records["order"]["settings"]) for order in grid.orders)
    assert not any(record.dropped for record in records)


def test_only_clients_that_keep_their_models_are_told_where_to_start() -> None:
    for training, records in ((STEPS, {"arrays"}), (SLOW, {"arrays", "start"})):
        _, grid = assert_same(training=training, rounds=1)
        assert {frozenset(order.content.array_records) for order in grid.orders} == {frozenset(records)}


# An attacker on its own.


@pytest.mark.parametrize(
    "section",
    [
        'name = "ipm"\nepsilon = 3.0',
        'name = "ipm"\nepsilon = 3.0\nlate = true',
        'name = "random"\nsigma = 0.1',
        'name = "label_flip"\nstealth = 0.5',
        'name = "backdoor"\npace = 2\nlate = true',
    ],
)
def test_a_lone_attacker_is_the_adversary_with_one_client(section: str) -> None:
    attack = {**tomllib.loads(section), "clients": [4], "knowledge": "own"}
    expected, _ = states(experiment(configured(**{**BASE, "attack": attack})))
    grid = InProcessGrid.of(trusting, 11, {4: {"attack": section}})
    found, records = states(on_grid(configured(**BASE), grid))
    assert_equal(found, expected)
    assert not any(record.struck or record.dropped for record in records)


def test_a_lone_attacker_that_keeps_its_model_goes_on_from_what_it_said() -> None:
    """The server, which reckons where clients start, knows no better."""
    grid = InProcessGrid.of(trusting, 11, {4: {"attack": 'name = "ipm"\nepsilon = 3.0'}})
    attacked, _ = states(on_grid(configured(**{**BASE, "training": SLOW, "rounds": 1}), grid))
    honest, _ = states(experiment(configured(**{**BASE, "training": SLOW, "rounds": 1})))
    first = experiment(configured(**BASE)).state.params
    assert attacked.kept is not None
    assert honest.kept is not None
    others = [client for client in range(11) if client != 4]
    assert torch.equal(attacked.kept[others], honest.kept[others])
    torch.testing.assert_close(attacked.kept[4] - first, -3 * (honest.kept[4] - first))


def test_phases_of_a_round_are_those_in_which_clients_are_asked() -> None:
    def phases(attack: dict[str, Any], engine: dict[str, Any]) -> int:
        carrier = on_grid(configured(**{**BASE, "attack": attack, "engine": engine}), InProcessGrid.of(trusting, 11))
        assert isinstance(carrier.world.carrier, GridCarrier)
        return carrier.world.carrier.phases

    wire, server = dict(WIRE), dict(LOOP)
    assert [phases(IPM, server), phases(POISON, server), phases({"name": "none"}, wire)] == [1, 2, 1]
    assert [phases(IPM, wire), phases({**IPM, "late": True}, wire)] == [4, 2]
    assert [phases(POISON, wire), phases({**POISON, "late": True}, wire)] == [5, 3]
