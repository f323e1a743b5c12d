"""The same clients' work twice: one after the other, and side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedsim.config import TrainingSection
from fedsim.domain import Dataset, Shards
from fedsim.engine.batching import copies_for
from fedsim.engine.copies import Copies
from fedsim.engine.stacking import SideBySide
from fedsim.objectives.erm import Erm
from fedsim.objectives.objective import MeanOfLosses, Objective, PerSample
from fedsim.seeds import stream, torch_stream
from fedsim.tables import Settings
from fedsim.training import train_client
from fedsim.vectors import FlatModule

PATH = ("round", 3, "client")
ERM = Erm()


@dataclass(frozen=True)
class Task:
    """What clients are to do in a round.

    Fields:
        build: makes the net.
        clients: who work; all there are when None.
        seed: of the run.
    """

    build: Callable[[], nn.Module]
    shards: Shards
    training: TrainingSection
    objective: Objective = ERM
    clients: Sequence[int] | None = None
    seed: int = 0

    @property
    def chosen(self) -> Sequence[int]:
        """The clients who work."""
        return sorted(self.shards.places) if self.clients is None else self.clients


@dataclass(frozen=True)
class Work:
    """What came of a round: uploads (n, d) and mean losses (n,)."""

    rows: Tensor
    losses: Tensor


def dealt(sizes: Sequence[int], shape: tuple[int, ...] = (2,), classes: int = 3, seed: int = 0) -> Shards:
    """Clients 0, 1, ... with so many samples each, of inputs in [0, 1)."""
    rng, samples = stream(seed, "dealt"), sum(sizes)
    inputs = torch.from_numpy(rng.random((samples, *shape), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(classes, size=samples))
    data, edges = Dataset(inputs, labels, classes), itertools.pairwise([0, *itertools.accumulate(sizes)])
    return Shards(data, {client: np.arange(*pair) for client, pair in enumerate(edges)})


def made(build: Callable[[], nn.Module]) -> FlatModule:
    """The same initial network every time it is asked for."""
    with torch_stream(0, "net"):
        return FlatModule(build())


def tanh_net() -> nn.Module:
    """A small dense net for points of the plane in three classes."""
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))


def nested_net() -> nn.Module:
    """The same, but no plain stack of layers."""
    return nn.Sequential(tanh_net())


EITHER_NET = pytest.mark.parametrize("net", [tanh_net, nested_net], ids=["dense", "mapped"])


def in_turn(task: Task) -> Work:
    """One client after the other."""
    model = made(task.build)
    params = model.params
    work = [
        train_client(model, params, task.shards[client], task.objective, task.training, task.seed, *PATH, client)
        for client in task.chosen
    ]
    return Work(torch.stack([row for row, _ in work]), torch.tensor([loss for _, loss in work]))


def beside(model: FlatModule, training: TrainingSection, objective: Objective = ERM) -> tuple[SideBySide, Watched]:
    """Who trains copies of the net, and what is seen of the copies."""
    copies = copies_for(model.module, training, model.memory.device)
    assert copies is not None
    assert isinstance(objective, PerSample)
    found = SideBySide(copies, model.layout, objective, training)
    watched = Watched(found.copies)
    return replace(found, copies=watched), watched


def together(task: Task) -> Work:
    """Side by side."""
    return watched_together(task)[0]


def watched_together(task: Task) -> tuple[Work, list[tuple[int, int]]]:
    """The same; and the copies and samples of each forward pass."""
    model = made(task.build)
    params = model.params
    rows = torch.full((len(task.chosen), len(params)), 1e6)  # What the memory holds must not matter.
    trainer, watched = beside(model, task.training, task.objective)
    losses = trainer.train(task.shards, task.chosen, params, rows, task.seed, *PATH)
    return Work(rows, losses), watched.seen


def assert_close(found: Work, expected: Work, tolerance: float = 1e-6) -> None:
    """Equal but for rounding; a client without samples has no loss in either."""
    assert found.rows.abs().max() > 1e-3, "or two that did nothing would agree"
    torch.testing.assert_close(found.rows, expected.rows, rtol=1e-5, atol=tolerance)
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-5, atol=tolerance, equal_nan=True)


class Watched:
    """Copies that note how many of them worked at each forward pass, and on how many samples."""

    def __init__(self, copies: Copies) -> None:
        self.copies = copies
        self.seen: list[tuple[int, int]] = []

    def forward(self, tensors: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """As the copies."""
        self.seen.append((len(tensors[0]), len(inputs)))
        return self.copies.forward(tensors, inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.copies, name)


@dataclass(frozen=True)
class Smoothed(MeanOfLosses):
    """Cross-entropy with a tenth of each label spread over all classes."""

    def losses(self, forward: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        """(b,) one forward pass."""
        return nn.functional.cross_entropy(forward(inputs), labels, reduction="none", label_smoothing=0.1)


@dataclass(frozen=True)
class Adversarial(MeanOfLosses):
    """The loss where a few steps uphill in the inputs lead."""

    def losses(self, forward: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        """(b,) four forward passes."""
        moved = inputs.detach()
        for _ in range(3):
            moved = moved.detach().requires_grad_()
            loss = nn.functional.cross_entropy(forward(moved), labels, reduction="sum")
            (uphill,) = torch.autograd.grad(loss, moved)
            moved = moved + 0.5 * uphill
        return nn.functional.cross_entropy(forward(moved.detach()), labels, reduction="none")


@dataclass(frozen=True)
class WholeBatch(Settings):
    """Says only what a whole batch costs."""

    def loss(self, module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy."""
        return nn.functional.cross_entropy(module(inputs), labels)
