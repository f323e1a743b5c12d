"""Labelled samples, and which client holds which."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Labelled samples held as tensors.

    Fields:
        inputs: (m, *shape) float32; images are (m, channels, height, width) with values in [0, 1].
        labels: (m,) int64, each in [0, classes).
        classes: c.
    """

    inputs: Tensor
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    def take(self, indices: Tensor) -> Dataset:
        """The samples at ``indices`` (k,), in that order."""
        return Dataset(self.inputs.index_select(0, indices), self.labels.index_select(0, indices), self.classes)

    def batch(self, indices: NDArray[np.int64]) -> Dataset:
        """The samples at ``indices`` (k,), as a generator of numpy's draws them."""
        return self.take(torch.from_numpy(indices).to(self.labels.device))

    @classmethod
    def joined(cls, parts: Sequence[Dataset]) -> Dataset:
        """The samples of one data set after the other's; at least one."""
        inputs, labels = torch.cat([part.inputs for part in parts]), torch.cat([part.labels for part in parts])
        return cls(inputs, labels, parts[0].classes)


@dataclass(frozen=True)
class Part:
    """Some samples of a data set, by their places in it: what a client trains on, without a copy of them.

    Fields:
        whole: the data set.
        places: (m,) int64.
    """

    whole: Dataset
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, indices: NDArray[np.int64]) -> Dataset:
        """The samples at ``indices`` (k,) of the part, in that order."""
        return self.whole.batch(self.places[indices])

    def copy(self) -> Dataset:
        """A data set of these samples alone."""
        return self.whole.batch(self.places)


@dataclass(frozen=True)
class Shards:
    """The samples of several clients, in one data set.

    Fields:
        samples: everybody's.
        places: where each client's lie, (m,) int64 by client id.
    """

    samples: Dataset
    places: Mapping[int, NDArray[np.int64]]

    def __getitem__(self, client: int) -> Part:
        """One client's samples."""
        return Part(self.samples, self.places[client])

    def __len__(self) -> int:
        return len(self.places)

    @classmethod
    def of(cls, parts: Mapping[int, Dataset]) -> Shards:
        """The samples of clients, by id, copied into one data set; at least one client."""
        edges = itertools.pairwise([0, *itertools.accumulate(len(part) for part in parts.values())])
        places = {client: np.arange(*pair) for client, pair in zip(parts, edges, strict=True)}
        return cls(Dataset.joined(list(parts.values())), places)
