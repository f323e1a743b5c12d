"""Partitions: which client holds which training samples.

flwr-datasets' partitioners take Hugging Face data sets only; these work on an array of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedsim.domain import Mistake
from fedsim.tables import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Labels = NDArray[np.integer]
    Indices = NDArray[np.int64]


class Partition(Protocol):
    """Deals samples out to clients: every sample to exactly one of them."""

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices into ``labels`` (m,) that each client holds, ascending; one array a client.

        Refuses more clients than samples.
        """
        ...


def histogram(labels: Labels, parts: Sequence[Indices], classes: int) -> Indices:  # (n, c)
    """How many samples of each class each client holds."""
    return np.stack([np.bincount(labels[part], minlength=classes) for part in parts])


@dataclass(frozen=True)
class Iid(Settings):
    """Shuffle the samples and deal them out evenly: sizes differ by one at most."""

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices each client holds."""
        _require_samples(labels, clients)
        return _ascending(np.array_split(rng.permutation(len(labels)), clients))


def _require_samples(labels: Labels, clients: int) -> None:
    if not 1 <= clients <= len(labels):
        raise Mistake(
            f"partition: {clients} clients cannot share {len(labels)} samples; "
            f"use from 1 to {len(labels)} clients"
        )


def _ascending(parts: Iterable[NDArray[np.integer]]) -> list[Indices]:
    return [np.sort(part).astype(np.int64) for part in parts]
