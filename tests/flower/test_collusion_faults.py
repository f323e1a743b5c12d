"""The adversary on the wire: a malicious client that does not craft costs its own upload."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from numpy.random import Generator
from torch import Tensor

from fedsim.app import trusting
from fedsim.build import experiment
from fedsim.config import Config
from fedsim.domain import Drop, Knowledge, View
from fedsim.engine.round import play_round
from fedsim.server import settle
from tests.flower.colluding import ATTACKERS, IPM, WIRE, on_wire
from tests.flower.faults import CASES, filled
from tests.flower.federations import configured, flower, on_grid, played
from tests.flower.grids import InProcessGrid


def without(config: Config, *lost: int) -> Tensor:
    """The model after one round in which the crafted uploads of these clients were lost."""
    made = experiment(replace_engine(config))
    state, world = made.state, made.world
    honest = world.carrier.train(range(11), state.params, 1)
    sent = world.forger.turn(honest, state.params, 1, 11).sent(state.memory)
    kept = torch.tensor([client not in lost for client in range(11)])
    sent = replace(
        sent,
        rows=sent.rows[kept],
        examples=sent.examples[kept],
        losses=sent.losses[kept],
        clients=sent.clients[kept],
    )
    return settle(state, sent, world.rule, world.layout, world.server).state.params


def replace_engine(config: Config) -> Config:
    """The same experiment on the local carrier."""
    return config.model_copy(update={"engine": type(config.engine)()})


FAULTS = {
    name: CASES[name]
    for name in (
        *("raises", "unreachable", "never answers", "says nothing", "one entry short", "another shape", "float64"),
        *("extra array", "renamed record", "no record", "garbage", "a pickle in npy", "megabytes of noise"),
    )
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_malicious_client_that_does_not_craft_costs_its_own_upload(fault: str) -> None:
    seconds = 1.0 if fault == "never answers" else 30.0
    config = on_wire(rounds=1, attack=IPM, engine={**WIRE, "deadline": seconds})
    grid = InProcessGrid.of(trusting, 11, forgeries={4: FAULTS[fault].fault})
    found, (record,) = played(on_grid(config, grid))
    assert record.dropped == (Drop(4, FAULTS[fault].reason),)
    assert record.struck
    assert torch.equal(found, without(config, 4))


def test_a_crafted_row_that_is_no_number_is_dropped_as_any() -> None:
    config = on_wire(rounds=1, attack=IPM)
    grid = InProcessGrid.of(trusting, 11, forgeries={7: filled(float("nan"))})
    found, (record,) = played(on_grid(config, grid))
    assert record.dropped == (Drop(7, "non-finite"),)
    assert torch.equal(found, without(config, 7))


def test_an_adversary_of_whom_nobody_crafts_does_not_strike() -> None:
    config = on_wire(rounds=1, attack=IPM)
    grid = InProcessGrid.of(trusting, 11, forgeries=dict.fromkeys(ATTACKERS, CASES["raises"].fault))
    found, (record,) = played(on_grid(config, grid))
    assert record.dropped == tuple(Drop(client, "absent") for client in ATTACKERS)
    assert not record.struck
    assert "forged_norm" not in record.measures
    assert torch.equal(found, without(config, *ATTACKERS))


def test_the_figures_are_those_of_the_crafted_rows_that_came() -> None:
    attack = {"name": "ipm", "epsilon": 3.0, "clients": [0, 1, 4]}
    grid = InProcessGrid.of(trusting, 11, forgeries={0: CASES["raises"].fault})
    _, (whole,) = played(experiment(configured(rounds=1, attack=attack)))
    _, (record,) = played(on_grid(on_wire(rounds=1, attack=attack), grid))
    assert record.measures["forged_norm"] == pytest.approx(whole.measures["forged_norm"])
    assert record.measures["forged_cosine"] == pytest.approx(-1)
    assert record.measures["attackers_share"] == pytest.approx(2 / 10)


def test_the_next_round_goes_on() -> None:
    grid = InProcessGrid.of(trusting, 11, forgeries={4: CASES["raises"].fault})
    made = on_grid(on_wire(attack=IPM), grid)
    state, _ = play_round(made.state, made.world)
    grid.forgeries.clear()
    _, record = play_round(state, made.world)
    assert record.dropped == ()


@dataclass(frozen=True)
class Misshapen:
    """Makes a row too few."""

    needs: ClassVar[Knowledge] = "own"

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """Nothing."""

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """Not what was asked for."""
        return view.own[1:]


def test_an_attack_that_makes_something_else_is_told_by_its_clients() -> None:
    lines: list[str] = []
    made = flower(on_wire(rounds=1, attack={"name": f"{__name__}:Misshapen", "clients": ATTACKERS}))
    made.world.carrier.enrolment.tell = lines.append  # type: ignore[attr-defined]
    played(made)
    assert len(lines) == 3
    assert lines[0].startswith("round 1: client 1 failed: Mistake('attack: it made a Tensor of shape (2, 6")
