"""A client's work in a round: the same function wherever the client runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.config import TrainingSection
from fedsim.domain import Dataset, Part
from fedsim.lazy import torch
from fedsim.seeds import stream, torch_stream
from fedsim.vectors import FlatModule

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.objectives.objective import Objective


def batches(samples: int, training: TrainingSection, rng: Generator) -> Iterator[np.ndarray]:
    """The indices (b,) of each local step's batch, for a client with ``samples`` samples.

    Epochs: each a new permutation cut into batches, the last one shorter. Steps: as many full batches from
    permutations laid end to end. A batch size above ``samples`` takes them all.
    """
    size = min(training.batch_size, samples)
    if training.epochs is not None:
        for _ in range(training.epochs):
            order = rng.permutation(samples)
            yield from (order[start : start + size] for start in range(0, samples, size))
        return
    order, start = rng.permutation(samples), 0
    for _ in range(training.steps or 1):
        if start + size > len(order):
            order, start = np.concatenate([order[start:], rng.permutation(samples)]), 0
        yield order[start : start + size]
        start += size


def lookaheads(training: TrainingSection) -> tuple[int, ...]:
    """After which local steps, counted from 1, there is a lookahead upload."""
    every = training.lookahead_every or 0
    return tuple(range(every, training.steps or 1, every)) if every and training.epochs is None else ()


def paced(training: TrainingSection, pace: int) -> TrainingSection:
    """The same work, ``pace`` times as long, with as many lookahead uploads; fedsgd's one gradient stays one."""
    if pace == 1 or training.algorithm == "fedsgd":
        return training
    if training.epochs is not None:
        return training.model_copy(update={"epochs": pace * training.epochs})
    longer = {"steps": pace * (training.steps or 1)}
    if training.lookahead_every is not None:
        longer["lookahead_every"] = pace * training.lookahead_every
    return training.model_copy(update=longer)


def train_client(
    model: FlatModule,
    params: Tensor,
    data: Dataset | Part,
    objective: Objective,
    training: TrainingSection,
    seed: int,
    *path: int | str,
    out: Tensor | None = None,
    start: Tensor | None = None,
    watched: Sequence[Tensor] = (),
) -> tuple[Tensor, float]:
    """Train one client from ``params`` (size,) and return its upload (size,), in ``out``, and its mean training loss.

    The upload is w_client - w_server for fedavg and minus the gradient of one batch for fedsgd; in the buffers' part
    it is their change in both. ``model`` is scratch space. Every draw comes from the stream named by ``path``. A client
    keeps no optimiser state between rounds; one without samples uploads zeros. A net with BatchNorm passes over batches
    of one sample, which have no spread to normalise by.

    Another ``start`` (size,) changes where training begins, not what the upload is measured from. Lookahead uploads are
    written into ``watched``, a (size,) for each of ``lookaheads``.
    """
    upload = torch.empty_like(params) if out is None else out
    start = params if start is None else start
    if len(data) == 0:
        for early in watched:
            torch.sub(start, params, out=early)
        return torch.sub(start, params, out=upload), float("nan")
    model.load(start)
    model.module.train()
    optimizer = optimizer_for(model.tensors, training)
    losses: list[Tensor] = []
    rng = stream(seed, *path, "batches")
    ahead = dict(zip(lookaheads(training), watched, strict=True)) if watched else {}
    model.forget_gradient()
    with torch_stream(seed, *path, "noise"):
        for step, indices in enumerate(batches(len(data), training, rng), start=1):
            if len(indices) > 1 or not model.normalises:
                batch = data.batch(indices)
                model.forget_gradient()
                loss = objective.loss(model.module, batch.inputs, batch.labels)
                loss.backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
                if training.algorithm == "fedavg":
                    optimizer.step()
            if step in ahead:
                model.change_since(params, ahead[step])
    if training.algorithm == "fedsgd":
        model.descent(params, upload)
    else:
        model.change_since(params, upload)
    return upload, float(torch.stack(losses).mean()) if losses else float("nan")


class Descent:
    """Plain gradient descent: the bytes of torch.optim.SGD, whose bookkeeping takes a small net longer than its steps.

    Fields:
        param_groups, state: as any optimizer of torch's has them.
    """

    def __init__(self, tensors: Sequence[Tensor], learning_rate: float) -> None:
        self.param_groups = [{"params": list(tensors)}]
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._rate = learning_rate

    def zero_grad(self) -> None:
        """Let the next ``backward`` begin anew."""
        for tensor in self.param_groups[0]["params"]:
            tensor.grad = None

    def step(self) -> None:
        """Move each tensor that has a gradient against it."""
        with torch.no_grad():
            for tensor in self.param_groups[0]["params"]:
                if tensor.grad is not None:
                    tensor.add_(tensor.grad, alpha=-self._rate)


def optimizer_for(tensors: Sequence[Tensor], training: TrainingSection) -> torch.optim.Optimizer | Descent:
    """The local optimiser that the configuration names, on ``tensors``."""
    if training.optimizer == "adam":
        return torch.optim.Adam(tensors, lr=training.learning_rate, weight_decay=training.weight_decay)
    if not training.momentum and not training.weight_decay:
        return Descent(tensors, training.learning_rate)
    return torch.optim.SGD(
        tensors,
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )


@dataclass(frozen=True)
class Tested:
    """How a model does on labelled samples.

    Fields:
        loss: mean cross-entropy, in nats.
        accuracy: share classified as labelled.
        confidence: mean softmax mass on the label.
        by_class: (c,) accuracy on the samples of each label; NaN for a label without samples.
    """

    loss: float
    accuracy: float
    confidence: float
    by_class: list[float]


def evaluate(model: FlatModule, params: Tensor, data: Dataset, batch_size: int) -> Tested:
    """Test ``params`` (size,) on ``data``, in evaluation mode. At least one sample."""
    model.load(params)
    model.module.eval()
    losses, right = torch.empty(len(data)), torch.empty(len(data))
    with torch.no_grad():
        for start in range(0, len(data), batch_size):
            batch = slice(start, start + batch_size)
            labels = data.labels[batch]
            scores = model.module(data.inputs[batch])
            losses[batch] = torch.nn.functional.cross_entropy(scores, labels, reduction="none").cpu()
            right[batch] = (scores.argmax(dim=1) == labels).float().cpu()
    labels = data.labels.cpu()
    counts = torch.bincount(labels, minlength=data.classes)
    hits = torch.bincount(labels, weights=right.double(), minlength=data.classes)
    return Tested(
        loss=float(losses.double().mean()),
        accuracy=float(right.double().mean()),
        confidence=float((-losses.double()).exp().mean()),
        by_class=(hits / counts).tolist(),
    )
