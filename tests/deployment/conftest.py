"""Federations that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Federation, Processes, federated

from fedsim.deployment import keys as keys_module
from fedsim.deployment.keys import Keys
from fedsim.flower_internals import TaskIdentity
from tests.deployment.fake_link import FakeLink


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Certificates and the keys of twelve clients."""
    return keys_module.make(tmp_path_factory.mktemp("keys") / "pki", 12, [])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Federation]:
    """With TLS and node authentication; clients 0 and 1 are there and honest."""
    with federated(tmp_path_factory.mktemp("logs"), keys, 12) as federation:
        federation.node("honest", 0)
        federation.node("honest", 1)
        federation.joined(0, 1)
        yield federation


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Without TLS, open to anyone; client 0 is there and honest."""
    with federated(tmp_path_factory.mktemp("logs"), None, 4) as federation:
        federation.node("honest", 0)
        federation.joined(0)
        yield federation


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Processes of one test."""
    found = Processes(tmp_path)
    yield found
    found.end()


@pytest.fixture
def identity() -> Iterator[None]:
    """Whose process this is, as it was before."""
    names = ("_task_id", "_run_id", "_node_id")
    before = {name: getattr(TaskIdentity, name) for name in names}
    yield
    for name, value in before.items():
        setattr(TaskIdentity, name, value)


@pytest.fixture
def link(identity: None) -> Iterator[FakeLink]:
    """A server that answers as a test tells it to."""
    made = FakeLink()
    yield made
    made.close()
