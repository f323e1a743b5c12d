"""The adversary on the wire: what malicious clients are shown, which of them, and who takes no part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from flwr.app import RecordDict

from fedsim.app import trusting
from fedsim.build import client_settings
from fedsim.domain import KNOWLEDGE, Drop, Mistake
from strategies import Mean
from tests.flower.colluding import ATTACKERS, IPM, WIRE, assert_same, on_wire, reply_to
from tests.flower.faults import CASES
from tests.flower.federations import configured, on_grid, played
from tests.flower.grids import InProcessGrid


def shown(knowledge: str, **attack: Any) -> list[RecordDict]:
    """What is sent to the malicious clients in one round."""
    sections = {"attack": {**IPM, **attack, "knowledge": knowledge}, "strategy": {"name": "centered_clipping"}}
    sections["strategy"]["radius"] = 0.1
    config = on_wire(rounds=1, **sections)
    grid = InProcessGrid.of(trusting, 11)
    played(on_grid(config, grid))
    assert [message.metadata.dst_node_id for message in grid.shown] == [grid.node(client) for client in ATTACKERS]
    return [message.content for message in grid.shown]


@pytest.mark.parametrize(
    ("knowledge", "names"),
    [
        ("own", {"view": ["own", "params"]}),
        ("honest", {"view": ["honest", "own", "params"]}),
        ("rule", {"view": ["honest", "own", "params"], "memory": ["center"]}),
    ],
)
def test_what_the_threat_model_grants_is_shown_and_nothing_else(knowledge: str, names: Mapping[str, Any]) -> None:
    for content in shown(knowledge):
        assert {name: sorted(record) for name, record in content.array_records.items()} == names
        settings = str(content.config_records["order"]["settings"])
        assert ("[strategy]" in settings) == (knowledge == "rule")
        rows = content.array_records["view"]
        assert rows["own"].numpy().shape[0] == 3
        if knowledge != "own":
            assert rows["honest"].numpy().shape[0] == 8


def test_poisoned_uploads_are_shown_where_there_are_some() -> None:
    config = on_wire(rounds=1, attack={"name": "label_flip", "clients": ATTACKERS, "knowledge": "own"})
    grid = InProcessGrid.of(trusting, 11)
    played(on_grid(config, grid))
    assert {tuple(sorted(message.content.array_records["view"])) for message in grid.shown} == {
        ("own", "params", "poisoned")
    }


@pytest.mark.parametrize("adversary", ["server", "clients"])
def test_only_a_rule_that_is_shown_is_sent(adversary: str) -> None:
    for knowledge in KNOWLEDGE:
        config = configured(engine={**WIRE, "adversary": adversary}, attack={**IPM, "knowledge": knowledge})
        assert ("[strategy]" in client_settings(config)) == (adversary == "clients" and knowledge == "rule")


def test_nobody_is_shown_anything_where_the_server_crafts() -> None:
    grid = InProcessGrid.of(trusting, 11)
    played(on_grid(configured(attack=IPM), grid))
    assert grid.shown == []


def test_clients_whose_training_failed_are_not_asked() -> None:
    grid = InProcessGrid.of(trusting, 11, faults={4: CASES["raises"].fault})
    _, (record, *_) = played(on_grid(on_wire(attack=IPM), grid))
    assert record.dropped == (Drop(4, "absent"),)
    assert {message.metadata.dst_node_id for message in grid.shown} == {grid.node(1), grid.node(7)}


def test_who_is_no_part_of_the_attack_crafts_nothing() -> None:
    for reply in (reply_to(3, on_wire(attack=IPM)), reply_to(4, on_wire(attack=IPM), attack='name = "sign_flip"')):
        client = reply.metadata.src_node_id
        assert reply.has_error(), client
        assert "takes no part in the server's attack" in (reply.error.reason or "")


@dataclass(frozen=True)
class OwnMean(Mean):
    """A rule of the server's own."""


def test_a_rule_of_the_servers_own_is_shown_to_those_who_trust_it_only() -> None:
    sections: dict[str, Any] = {
        "attack": {**IPM, "knowledge": "rule"},
        "strategy": {"name": f"{__name__}:OwnMean"},
    }
    assert_same(**sections)
    reason = reply_to(4, on_wire(**sections)).error.reason or ""
    assert f"the server names strategy '{__name__}:OwnMean', which is none of fedsim's own" in reason


@pytest.mark.parametrize("engine", [{"adversary": "clients"}, {"adversary": "clients", "carrier": "local"}])
def test_clients_of_this_process_get_no_messages(engine: Mapping[str, Any]) -> None:
    with pytest.raises(Mistake) as refused:
        configured(engine=engine)
    assert str(refused.value) == (
        'test: engine: adversary = "clients" is for clients that get messages: '
        'set carrier = "flower", with fedsim.serve, too; or leave it out'
    )
