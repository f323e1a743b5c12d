"""Nets and objectives of the user's own: side by side they do as in turn, or have no copies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.config import TrainingSection
from fedsim.engine.batching import batching_of
from fedsim.objectives.erm import Erm
from fedsim.objectives.objective import MeanOfLosses, Objective
from tests.engine.beside import ERM, Task, assert_close, dealt, in_turn, made, together


def stack(*first: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(first or (nn.Linear(6, 5),)), nn.Tanh(), nn.Linear(5, 3))


def frozen() -> nn.Module:
    net = stack()
    net[0].requires_grad_(False)
    return net


def tied_biases() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].bias = net[0].bias
    return net


def weight_norm() -> nn.Module:
    net = stack()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net[0])
    return net


def hooked_layer() -> nn.Module:
    net = stack()
    net[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


def hooked_net() -> nn.Module:
    net = stack()
    net.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    return net


class Idle(nn.Module):
    """One of two heads is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)


class Mode(nn.Linear):
    """Sharper in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 if self.training else 3)


class FunctionalDropout(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), 0.5, self.training)


class Branching(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else -super().forward(x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.read(x.view(-1, 3, 2))[0][:, -1])


class Scaled(nn.Linear):
    """A parameter without dimensions."""

    def __init__(self) -> None:
        super().__init__(6, 3)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


class Rows(nn.Module):
    """Inputs as three rows of two."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 3, 2)


NETS: dict[str, Callable[[], nn.Module]] = {
    "frozen layer": frozen,
    "tied biases": tied_biases,
    "weight_norm": weight_norm,
    "hook on a layer": hooked_layer,
    "hook on the net": hooked_net,
    "unused layer": Idle,
    "another in evaluation": lambda: Mode(6, 3),
    "functional dropout": lambda: FunctionalDropout(6, 3),
    "data-dependent branch": lambda: Branching(6, 3),
    "lstm": Recurrent,
    "scalar parameter": Scaled,
    "batch statistics without buffers": lambda: nn.Sequential(
        nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)
    ),
}
HOW: list[dict[str, Any]] = [{"algorithm": "fedsgd"}, {"epochs": 2, "weight_decay": 0.1}]


def agree(
    build: Callable[[], nn.Module], objective: Objective, how: dict[str, Any], shape=(6,), sizes=(20, 17, 3)
) -> None:
    training, model = TrainingSection(batch_size=8, **how), made(build)
    if batching_of(model, objective, training, dealt(sizes, shape).samples).together is None:
        return
    task = Task(build, dealt(sizes, shape), training, objective)
    assert_close(together(task), in_turn(task), 1e-5)


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_nets(name: str, how: dict[str, Any]) -> None:
    if name == "functional dropout":
        model = made(NETS[name])
        assert batching_of(model, ERM, TrainingSection(), dealt((5,), (6,)).samples).together is None

    def build() -> nn.Module:
        return NETS[name]().eval()  # As a model is after its evaluation.

    agree(build, ERM, how)


@pytest.mark.parametrize("how", HOW, ids=str)
def test_a_linear_layer_on_the_last_of_several_dimensions(how: dict[str, Any]) -> None:
    agree(lambda: nn.Sequential(nn.Linear(4, 3), nn.Flatten(), nn.Linear(12, 3)), ERM, how, (4, 4))


@pytest.mark.parametrize("how", HOW, ids=str)
def test_padding_by_name(how: dict[str, Any]) -> None:
    agree(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding="valid"), nn.Flatten(), nn.Linear(36, 3)), ERM, how, (2, 6, 5)
    )


def test_buffers_of_the_stack_itself() -> None:
    def net() -> nn.Module:
        layers = stack()
        layers.register_buffer("seen", torch.zeros(3))
        return layers

    agree(net, ERM, {"algorithm": "fedsgd"})


@dataclass(frozen=True)
class Penalty(MeanOfLosses):
    """The loss and the squared length of its gradient in the inputs."""

    def losses(self, forward: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        x = inputs.clone().requires_grad_()
        each = nn.functional.cross_entropy(forward(x), labels, reduction="none")
        (slope,) = torch.autograd.grad(each.sum(), x, create_graph=True)
        return each + slope.flatten(1).square().sum(dim=1)


@dataclass(frozen=True)
class Joined(MeanOfLosses):
    """Clean and moved inputs in one forward pass."""

    def losses(self, forward: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        clean, moved = forward(torch.cat([inputs, inputs + 0.1])).chunk(2)
        return nn.functional.cross_entropy(clean, labels, reduction="none") + (clean - moved).square().sum(dim=1)


@dataclass(frozen=True)
class Decayed(Erm):
    """Losses of single samples, and a loss of its own that is not their mean."""

    def loss(self, module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return super().loss(module, inputs, labels) + sum(p.square().sum() for p in module.parameters())


@dataclass(frozen=True)
class Turned(MeanOfLosses):
    """Inputs that do not lie in one piece."""

    def losses(self, forward: Callable[[Tensor], Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(forward(inputs.T.contiguous().T), labels, reduction="none")


@pytest.mark.parametrize("how", [*HOW, {"steps": 3}], ids=str)
@pytest.mark.parametrize("objective", [Penalty(), Joined(), Decayed(), Turned()], ids=lambda it: type(it).__name__)
def test_objectives(objective: Objective, how: dict[str, Any]) -> None:
    agree(stack, objective, how)


@pytest.mark.parametrize("how", [*HOW, {"steps": 3}], ids=str)
def test_penalty_on_convolutions(how: dict[str, Any]) -> None:
    agree(
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)), Penalty(), how, (2, 6, 5)
    )
