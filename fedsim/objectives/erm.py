"""Empirical risk minimisation, the plain objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.lazy import torch
from fedsim.tables import Settings

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Erm(Settings):
    """Empirical risk minimisation: the mean cross-entropy of a batch.

    Source: McMahan et al., AISTATS 2017, Eq. 1.
    """

    def loss(self, module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean of -log softmax(logits)[label] over inputs (b, *shape), in nats; one forward pass."""
        return torch.nn.functional.cross_entropy(module(inputs), labels)
