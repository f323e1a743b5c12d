"""What a data set is: something that loads a training and a test set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedsim.domain import Dataset, Mistake
from fedsim.lazy import torch
from fedsim.seeds import stream

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Source(Protocol):
    """A data set of the table: its settings are the fields of a frozen dataclass."""

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """The training and the test set; ``seed`` matters only where samples are drawn, not read."""
        ...


def images(pixels: NDArray[np.generic], labels: NDArray[np.generic], classes: int, white: float) -> Dataset:
    """Images (m, height, width), or with channels last, as a data set; ``white`` is their brightest value."""
    channels_last = pixels[..., None] if pixels.ndim == 3 else pixels
    inputs = np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2), dtype=np.float32)
    inputs /= white
    return Dataset(torch.from_numpy(inputs), torch.from_numpy(labels.astype(np.int64)), classes)


def limited(data: Dataset, limit: int, setting: str) -> Dataset:
    """The first ``limit`` samples of one fixed shuffle of ``data``, which no seed changes; all of it if 0.

    A smaller limit's samples are among a larger one's. Refuses a limit above the number of samples, naming
    ``setting``.
    """
    if limit > len(data):
        raise Mistake(f"{setting}: {limit} asked for, but there are {len(data)} samples; 0 takes all")
    if limit == 0:
        return data
    order = stream(0, "data", "limit").permutation(len(data))
    return data.take(torch.from_numpy(order[:limit]))
