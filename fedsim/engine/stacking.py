"""Clients side by side: a copy of the net for each, with weights of its own, trained as one tensor program.

Imports torch outright: nobody needs this module before there is a model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fedsim.config import TrainingSection
from fedsim.domain import Layout, Shards
from fedsim.engine.copies import Copies
from fedsim.objectives.objective import PerSample
from fedsim.seeds import stream
from fedsim.training import Descent, batches, lookaheads, optimizer_for

ENTRIES = {"cpu": 1 << 19, "cuda": 1 << 28}
"""Numbers, of weights and inputs, that a block of copies may have: on a CPU, what its caches hold."""


@dataclass(frozen=True)
class _Plan:
    """Which samples each client of a block takes in each step.

    Fields:
        samples: (steps, k, b) places among everybody's samples; where a client's batch is shorter, its first again.
        shares: (steps, k, b) each sample's share in its client's mean loss, 0 for one that only fills up; None when
            all batches are full.
        active: how many clients take part in each step; they come in descending order of their steps.
    """

    samples: Tensor
    shares: Tensor | None
    active: tuple[int, ...]

    @classmethod
    def of(cls, drawn: Sequence[Sequence[np.ndarray]], device: torch.device) -> _Plan:
        """The plan of clients whose batches were drawn, in descending order of their number."""
        steps, k = len(drawn[0]), len(drawn)
        width = max(len(batch) for own in drawn for batch in own)
        active = tuple(sum(len(own) > step for own in drawn) for step in range(steps))
        if active[-1] == k and all(len(batch) == width for own in drawn for batch in own):
            samples = np.array(drawn).transpose(1, 0, 2)
            return cls(torch.from_numpy(samples).to(device), None, active)
        samples = np.zeros((steps, k, width), np.int64)
        shares = np.zeros((steps, k, width), np.float32)
        for client, own in enumerate(drawn):
            for step, batch in enumerate(own):
                samples[step, client] = batch[0]
                samples[step, client, : len(batch)] = batch
                shares[step, client, : len(batch)] = 1 / len(batch)
        return cls(torch.from_numpy(samples).to(device), torch.from_numpy(shares).to(device), active)


@dataclass(frozen=True)
class SideBySide:
    """Trains clients as copies of a net.

    A client's upload agrees with what it is alone to rounding: products of other sizes may be summed in other orders.
    """

    copies: Copies
    layout: Layout
    objective: PerSample
    training: TrainingSection

    def possible(self, alike: bool = True) -> bool:
        """Whether this training can be done so: convolutions only in a single step of clients that start ``alike``."""
        return (alike and one_step(self.training)) or not getattr(self.copies, "convolves", False)

    def train(
        self,
        shards: Shards,
        clients: Sequence[int],
        params: Tensor,
        rows: Tensor,
        seed: int,
        *path: int | str,
        starts: Tensor | None = None,
        watched: Sequence[Tensor] = (),
    ) -> Tensor:
        """Write each client's upload into ``rows`` (n, d) and return the mean training losses (n,).

        As ``fedsim.training.train_client`` for each, with the draws of the stream (seed, *path, client, "batches"),
        from ``starts`` (n, d) if given, and with the lookahead uploads written into ``watched``, each (n, d).
        """
        losses = torch.full((len(clients),), torch.nan)
        drawn: dict[int, list[np.ndarray]] = {}
        for place, client in enumerate(clients):
            own = shards.places[client]
            rng = stream(seed, *path, client, "batches")
            if len(own):
                drawn[place] = [own[batch] for batch in batches(len(own), self.training, rng)]
            else:
                for out in (rows, *watched):
                    out[place] = 0 if starts is None else starts[place] - params
        order = sorted(drawn, key=lambda place: (-len(drawn[place]), -len(drawn[place][0])))
        for block in self._blocks(order, drawn, shards):
            plan = _Plan.of([drawn[place] for place in block], params.device)
            there = torch.tensor(block)
            places = there.to(rows.device)
            ahead = dict(zip(lookaheads(self.training), watched, strict=True)) if watched else {}
            see = {step: partial(out.index_copy_, 0, places) for step, out in ahead.items()}
            made, means = self._work(plan, shards, params, None if starts is None else starts[places], see)
            rows.index_copy_(0, places, made)
            losses[there] = means.cpu()
        return losses

    def _blocks(self, order: list[int], drawn: dict[int, list[np.ndarray]], shards: Shards) -> list[list[int]]:
        """``order`` cut into blocks of copies that the caches hold."""
        inputs = shards.samples.inputs
        batch = max((len(own[0]) for own in drawn.values()), default=0)
        each = self.copies.entries(self.layout.size, batch * inputs[:1].numel())
        size = max(1, ENTRIES[inputs.device.type] // max(each, 1))
        # Blocks of nearly equal size: a last one of a single client would cost as much time as many.
        count = -(-len(order) // size)
        edges = [len(order) * number // max(count, 1) for number in range(count + 1)]
        return [order[start:stop] for start, stop in itertools.pairwise(edges)]

    def _work(
        self,
        plan: _Plan,
        shards: Shards,
        params: Tensor,
        starts: Tensor | None,
        see: Mapping[int, Callable[[Tensor], object]],
    ) -> tuple[Tensor, Tensor]:
        """Uploads (k, d) and mean losses (k,) of a block; ``see`` is shown the uploads after some steps."""
        k = plan.active[0]
        # Before the first step all copies may be equal.
        tensors = self._equal(params, k) if starts is None else self._leaves(starts)
        mean = self._losses(plan, 0, tensors, shards)
        mean.sum().backward()  # type: ignore[no-untyped-call]
        gradients = [tensor.grad for tensor in tensors]
        losses = mean.detach().new_empty(k, len(plan.active))
        losses[:, 0] = mean.detach()
        if self.training.algorithm == "fedsgd":
            pairs = zip(gradients, tensors, strict=True)
            found = [(torch.zeros_like(it) if gradient is None else gradient).reshape(k, -1) for gradient, it in pairs]
            return torch.cat(found, dim=1).neg_(), losses[:, 0]
        own = params.repeat(k, 1) if starts is None else starts
        tensors = self._leaves(own)
        optimizer = optimizer_for(tensors, self.training)
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient
        optimizer.step()
        if 1 in see:
            see[1](own - params)
        for step, active in enumerate(plan.active[1:], start=1):
            if active < len(tensors[0]):
                tensors = _narrowed(optimizer, active)
            optimizer.zero_grad()
            mean = self._losses(plan, step, tensors, shards)
            mean.sum().backward()  # type: ignore[no-untyped-call]
            losses[:active, step] = mean.detach()
            optimizer.step()
            if step + 1 in see:
                see[step + 1](own - params)
        steps = [sum(active > place for active in plan.active) for place in range(k)]
        if min(steps) == len(plan.active):
            return own.sub_(params), losses.mean(dim=1)
        means = torch.stack([own_losses[:count].mean() for own_losses, count in zip(losses, steps, strict=True)])
        return own.sub_(params), means

    def _parts(self) -> Iterator[tuple[slice, tuple[int, ...]]]:
        """Where each of the net's parameters lies, and its shape."""
        return zip(self.layout.slices, self.layout.shapes, strict=True)

    def _equal(self, params: Tensor, k: int) -> list[Tensor]:
        """The net's parameters of k equal copies, each (k, *shape), in one copy's memory."""
        parts = [params[where].view(shape) for where, shape in self._parts()]
        # Filters lie channels last, in which convolutions are fastest.
        parts = [part.contiguous(memory_format=torch.channels_last) if part.dim() == 4 else part for part in parts]
        return [part.expand(k, *part.shape).detach().requires_grad_() for part in parts]

    def _leaves(self, own: Tensor) -> list[Tensor]:
        """The net's parameters of all copies, each (k, *shape), as views into ``own`` (k, d)."""
        return [own[:, where].view(len(own), *shape).detach().requires_grad_() for where, shape in self._parts()]

    def _losses(self, plan: _Plan, step: int, tensors: Sequence[Tensor], shards: Shards) -> Tensor:
        """(active,) each copy's mean loss on its batch."""
        active = plan.active[step]
        samples = plan.samples[step, :active].flatten()
        inputs, labels = shards.samples.inputs.index_select(0, samples), shards.samples.labels.index_select(0, samples)
        forward: Callable[[Tensor], Tensor] = partial(self.copies.forward, tensors)
        each = self.objective.losses(forward, inputs, labels).view(active, -1)
        return each.mean(dim=1) if plan.shares is None else (each * plan.shares[step, :active]).sum(dim=1)


def _narrowed(optimizer: torch.optim.Optimizer | Descent, active: int) -> list[Tensor]:
    """The first ``active`` copies of what ``optimizer`` trains; from here on it trains only these."""
    group = optimizer.param_groups[0]
    tensors: list[Tensor] = []
    for tensor in group["params"]:
        own = tensor.detach()[:active].requires_grad_()
        state = optimizer.state.pop(tensor, {})
        optimizer.state[own] = {
            name: value[:active] if isinstance(value, Tensor) and value.dim() else value
            for name, value in state.items()
        }
        tensors.append(own)
    group["params"] = tensors
    return tensors


def one_step(training: TrainingSection) -> bool:
    """Whether clients take a single step, all from the same model."""
    alone = training.algorithm == "fedsgd" or (training.epochs is None and training.steps in (None, 1))
    return alone and training.moving_rate == 1
