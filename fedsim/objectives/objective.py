"""What a local objective is: a loss on a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Objective(Protocol):
    """An objective of the table: its settings are the fields of a frozen dataclass."""

    def loss(self, module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise on inputs (b, *shape) and labels (b,); ``backward`` reaches the module."""
        ...
