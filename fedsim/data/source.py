"""What a data set is, and what those that are read from disk share."""

from __future__ import annotations

import sys
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


def kept(samples: int, limit: int, setting: str) -> NDArray[np.int64]:
    """The indices that a limit keeps: the first ``limit`` of one fixed shuffle, which no seed changes.

    All, in their order, if the limit is 0. A smaller limit's samples are among a larger one's. Refuses a
    limit above the number of samples, naming ``setting``.
    """
    if limit > samples:
        raise Mistake(f"{setting}: {limit} asked for, but there are {samples} samples; 0 takes all")
    if limit == 0:
        return np.arange(samples)
    return stream(0, "data", "limit").permutation(samples)[:limit]


def missing(title: str, root: str) -> Mistake:
    """What to say when a data set does not lie where it should."""
    return Mistake(
        f"data.root: no {title} under {root!r}; set data.download = true to fetch it, or data.root to where it lies"
    )


def unreachable(title: str, error: Exception) -> Mistake:
    """What to say when a download fails."""
    return Mistake(f"data.download: cannot fetch {title}: {' '.join(str(error).split())}")


def announce_download(title: str, root: str) -> None:
    """Say on stderr that the network is about to be used."""
    print(f"data.download = true: fetching {title} into {root!r}", file=sys.stderr)
