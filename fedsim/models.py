"""Models: networks built for the shape of the data.

``build`` draws initial weights from torch's global generator, which the caller seeds
(``fedsim.seeds.torch_stream``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal, Protocol

from fedsim.domain import Mistake, PositiveCount
from fedsim.lazy import torch
from fedsim.tables import Settings, Table

if TYPE_CHECKING:
    from torch import nn

MODELS = Table(
    "model",
    {
        "softmax": "fedsim.models:Softmax",
        "mlp": "fedsim.models:Mlp",
    },
)


class Model(Protocol):
    """A model of the table: its settings are the fields of a frozen dataclass."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A network from inputs (b, *shape) to logits (b, c); refuses a shape that it does not fit."""
        ...


@dataclass(frozen=True)
class Softmax(Settings):
    """Softmax regression: one linear layer on the flattened input."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network for inputs of any shape."""
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(prod(shape), classes))


@dataclass(frozen=True)
class Mlp(Settings):
    """Fully connected layers on the flattened input.

    Fields:
        hidden: width of each hidden layer.
        activation: after each hidden layer.
    """

    hidden: tuple[PositiveCount, ...] = (64,)
    activation: Literal["relu", "elu", "tanh"] = "relu"

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.hidden):
            raise Mistake(f"Mlp.hidden: {self.hidden} is out of range; each width must be at least 1")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network for inputs of any shape."""
        nn = torch.nn
        activation = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}[self.activation]
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape)
        for hidden in self.hidden:
            layers += [nn.Linear(width, hidden), activation()]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, classes))
