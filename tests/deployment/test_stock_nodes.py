"""Flower's own SuperNode in a federation of ours: it works, in its own time."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
from loopback import Federation, federated

from fedsim.build import TABLES, experiment
from fedsim.config import read
from fedsim.deployment.keys import Keys
from fedsim.engine.round import play_round

pytestmark = pytest.mark.slow

QUICKSTART = Path(__file__).parents[2] / "experiments/quickstart.toml"


def stock_node(federation: Federation, client: int, keys: Keys, home: Path) -> None:
    """A ``flower-supernode``; the processes it starts are found by name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    supernode = Path(sys.executable).with_name("flower-supernode")
    environment = {"FLWR_HOME": str(home), "PATH": f"{supernode.parent}{os.pathsep}{os.environ['PATH']}"}
    federation.processes.start(
        *(supernode, "--superlink", federation.address, "--host", "127.0.0.1", "--port", port),
        *("--root-certificates", keys.authority, "--auth-supernode-private-key", keys.private(client)),
        *("--node-config", f"partition-id={client}"),
        environment=environment,
    )


def test_a_stock_supernode_beside_a_node_of_ours_trains_the_same_model(keys: Keys, tmp_path: Path) -> None:
    overrides = ["clients.count=2", "strategy={ name = 'mean' }", "attack={ name = 'none' }", "engine.deadline=120.0"]
    config = read(QUICKSTART, overrides, TABLES).config
    with federated(tmp_path, keys, 2) as federation:
        stock_node(federation, 0, keys, tmp_path / "home")
        federation.processes.start(
            *("-m", "fedsim.join", "--server", federation.address, "--client", 1, "--tls", keys.folder)
        )
        assert federation.enrolment.wait(90), federation.told
        there, here = experiment(config, federation.enrolment), experiment(config)
        state, played = play_round(there.state, there.world)
        expected, _ = play_round(here.state, here.world)
    assert played.dropped == ()
    torch.testing.assert_close(state.params, expected.params, rtol=0, atol=1e-6)
