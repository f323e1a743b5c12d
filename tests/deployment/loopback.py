"""Federations of real processes on loopback, and how tests speak to them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fedsim.deployment.grid import LinkGrid
from fedsim.deployment.keys import Keys
from fedsim.deployment.superlink import superlink
from fedsim.domain import Uploads
from fedsim.engine.enrolment import Enrolment
from fedsim.engine.grid import GridCarrier
from tests.deployment.nodes import TRAP

HERE = Path(__file__).parent
SIZE = 7
PATIENCE = 300.0
"""Seconds after which what other processes were to do has not happened; the machine may be busy."""

AMPLE = 60.0
"""A deadline that no round comes near which does not wait for someone."""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


@dataclass
class Process:
    """A child process and what it printed."""

    child: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_for(self, sentence: str, seconds: float = PATIENCE) -> None:
        """Wait until it has printed ``sentence``."""
        until(lambda: sentence in self.text, seconds, lambda: f"{sentence!r} not in:\n{self.text}")

    def end(self, seconds: float = PATIENCE) -> int:
        """Wait until it ends."""
        return self.child.wait(seconds)


def until(true: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait until something is true, and fail if it does not become so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


@dataclass
class Processes:
    """Starts processes; ends those that are left."""

    folder: Path
    started: list[Process] = field(default_factory=list)

    def start(self, *arguments: str | Path | int | float, environment: Mapping[str, str] | None = None) -> Process:
        log = self.folder / f"{len(self.started)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, *(str(argument) for argument in arguments)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, **(environment or {})},
                cwd=HERE.parents[1],
            )
        self.started.append(Process(child, log))
        return self.started[-1]

    def end(self) -> None:
        for process in self.started:
            process.child.kill()
            process.child.wait()


@dataclass
class Federation:
    """A server in this process, and clients in others."""

    grid: LinkGrid
    keys: Keys | None
    processes: Processes
    enrolment: Enrolment
    told: list[str]
    rounds: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grid.port}"

    def node(self, mode: str, client: int, keys: Keys | None = None, *more: float) -> Process:
        """A client process of ``nodes.py``."""
        keys = keys or self.keys
        folder = "" if keys is None else keys.folder
        arguments = (mode, self.address, client, folder, *more)
        return self.processes.start(HERE / "nodes.py", *arguments, environment={TRAP: str(self.trap)})

    @property
    def trap(self) -> Path:
        """The folder that is made where a client's pickle is loaded."""
        return self.processes.folder / "trap"

    def joined(self, *clients: int) -> None:
        """Wait until these clients are enrolled."""

        def all_there() -> bool:
            self.enrolment.refresh()
            return set(clients) <= set(self.enrolment.nodes)

        logs = self.processes.started
        until(all_there, PATIENCE, lambda: "\n".join([*self.told, *(process.text for process in logs)]))

    def hears(self, sentence: str) -> None:
        """Wait until the server has told something."""

        def told() -> bool:
            self.enrolment.refresh()
            return any(sentence in line for line in self.told)

        until(told, PATIENCE, lambda: f"{sentence!r} not in {self.told}")

    def round(self, *clients: int, seconds: float = AMPLE) -> tuple[Uploads, float]:
        """One round with these clients, and how long it took."""
        self.rounds += 1
        carrier = GridCarrier(self.enrolment, "", SIZE, seconds)
        started = time.monotonic()
        uploads = carrier.train(sorted(clients), torch.zeros(SIZE), self.rounds)
        took = time.monotonic() - started
        for row, client in zip(uploads.rows, uploads.clients.tolist(), strict=True):
            assert row.tolist() == [client] * SIZE
        return uploads, took


@contextmanager
def federated(folder: Path, keys: Keys | None, count: int, answers: int = 1) -> Iterator[Federation]:
    with ExitStack() as stack:
        processes = Processes(folder)
        stack.callback(processes.end)
        grid = stack.enter_context(superlink("127.0.0.1", 0, keys, answers=answers))
        told: list[str] = []
        yield Federation(grid, keys, processes, Enrolment(grid, count, told.append), told)
