"""Clients that answer a model with many, to a rule that watches: they get through, and the local carrier's model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedsim.build import TABLES, answers, experiment
from fedsim.config import read
from fedsim.engine.round import play_round
from tests.deployment.loopback import PATIENCE, federated

pytestmark = pytest.mark.slow

QUICKSTART = Path(__file__).parents[2] / "experiments/quickstart.toml"
# A model of 154 kB, of which eleven are more than one and the MiB that is let through beside it.
SETTINGS = ["model.hidden=[512]", "training.steps=11", "rounds=2", "clients.count=4", "attack={ name = 'none' }"]


def test_lookahead_uploads_get_through(tmp_path: Path) -> None:
    config = read(QUICKSTART, [*SETTINGS, "strategy={ name = 'romoa' }"], TABLES).config
    assert answers(config) == 11
    with federated(tmp_path, None, 4, answers(config)) as federation:
        for client in range(4):
            federation.processes.start(*("-m", "fedsim.join", "--server", federation.address, "--client", client))
        assert federation.enrolment.wait(PATIENCE), federation.told
        there, here = experiment(config, federation.enrolment), experiment(config)
        state, expected = there.state, here.state
        for _ in range(2):
            state, played = play_round(state, there.world)
            assert played.dropped == ()
            expected, _ = play_round(expected, here.world)
    torch.testing.assert_close(state.params, expected.params, rtol=0, atol=1e-5)
