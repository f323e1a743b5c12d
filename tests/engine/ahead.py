"""Clients of this process that are looked at on their way: nets, sizes, and the moments of their uploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.config import TrainingSection
from fedsim.domain import Shards, Uploads
from fedsim.engine.local import LocalCarrier
from tests.engine.beside import ERM, beside, made

CLIENTS = [0, 1, 3, 4]
SIZES = [9, 0, 3, 14, 1, 6]
"""Samples by client; client 1 has none, and client 4 one."""

BOTH = pytest.mark.parametrize("batching", ["stacked", "loop"])


def normalised_net() -> nn.Module:
    """A net with BatchNorm, whose statistics are part of an upload."""
    return nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


def convolving_net() -> nn.Module:
    """A net whose filters lie channels last."""
    return nn.Sequential(nn.Conv2d(1, 2, (1, 2)), nn.Tanh(), nn.Flatten(), nn.Linear(2, 3))


def carrier(
    batching: str, build: Callable[[], nn.Module], shards: Shards, training: TrainingSection, **more: Any
) -> LocalCarrier:
    """Clients who train the net side by side or one after the other."""
    model = made(build)
    trainer = beside(model, training)[0] if batching == "stacked" else None
    return LocalCarrier(model, shards, more.pop("poisoned", None), ERM, training, 0, trainer, **more)


def apart(carrier: LocalCarrier, count: int) -> Tensor:
    """(count, size) models near the carrier's, no two the same."""
    noise = torch.randn(count, carrier.model.layout.size, generator=torch.Generator().manual_seed(0))
    near = carrier.model.params + 0.1 * noise
    # Variances are positive.
    return near.abs() if carrier.model.normalises else near


def moments(uploads: Uploads) -> list[Tensor]:
    """All rows in the order in which they are uploaded."""
    return [*uploads.lookahead, uploads.rows]
