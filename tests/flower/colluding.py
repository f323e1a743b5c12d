"""Experiments whose malicious clients craft their uploads themselves."""

from __future__ import annotations

from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

from fedsim.app import app, trusting
from fedsim.build import client_settings, experiment
from fedsim.config import Config
from tests.flower.federations import configured, flower, on_grid, played
from tests.flower.grids import InProcessGrid

ATTACKERS = [1, 4, 7]
WIRE = {"deadline": 30.0, "carrier": "flower", "adversary": "clients"}
IPM = {"name": "ipm", "epsilon": 3.0, "clients": ATTACKERS}


def on_wire(**sections: Any) -> Config:
    """The small experiment whose malicious clients craft their uploads themselves."""
    return configured(**{"engine": WIRE, **sections})


def assert_same(grid: InProcessGrid | None = None, **sections: Any) -> InProcessGrid:
    """Crafted by the clients, by the server, and on the local carrier: the same model and the same record."""
    here, records = played(experiment(configured(**sections)))
    server, _ = played(flower(configured(**sections)))
    grid = grid or InProcessGrid.of(trusting, 11)
    there, others = played(on_grid(on_wire(**sections), grid))
    assert torch.equal(there, here)
    assert torch.equal(there, server)
    # repr, for not a number is not itself.
    assert repr(others) == repr(records)
    return grid


def reply_to(client: int, config: Config, **node: Any) -> Message:
    """What a client says to a server that asks it to craft."""
    grid = InProcessGrid.of(app, 11, {client: node})
    order = ConfigRecord({"settings": client_settings(config), "client": client, "round": 1, "chosen": 11})
    order["attackers"] = [client]
    content = RecordDict({"order": order, "view": ArrayRecord()})
    (reply,) = grid.send_and_receive([Message(content, grid.node(client), f"{MessageType.QUERY}.forge")])
    return reply
