"""CIFAR-10, through torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.data.source import announce_download, images, kept, missing, unreachable
from fedsim.domain import Count, Dataset, Mistake
from fedsim.tables import Settings


@dataclass(frozen=True)
class Cifar10(Settings):
    """CIFAR-10: 60,000 colour photographs, (3, 32, 32), ten classes.

    Its files are pickles, which can run code when read. torchvision first compares each with the MD5 sum of
    the original; files that differ are refused, never read.

    Fields:
        root: holds cifar-10-batches-py/, unpacked.
        download: fetch it (170 MB) when it is missing or damaged.
        train_limit, test_limit: take the first so many of one fixed shuffle, the same for every seed; 0 is
            all.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """

    root: str = "data"
    download: bool = False
    train_limit: Count = 0
    test_limit: Count = 0

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """50,000 training and 10,000 test samples unless limited; ``seed`` changes nothing."""
        train, test = self._read(train=True), self._read(train=False)
        return (
            _part(train, self.train_limit, "data.train_limit"),
            _part(test, self.test_limit, "data.test_limit"),
        )

    def _read(self, *, train: bool) -> Any:
        from torchvision.datasets import CIFAR10

        try:
            return CIFAR10(self.root, train=train, download=False)
        except RuntimeError as error:
            if not self.download:
                raise self._absent_or_damaged(CIFAR10.base_folder) from error
        announce_download("CIFAR-10", self.root)
        try:
            return CIFAR10(self.root, train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise unreachable("CIFAR-10", error) from error

    def _absent_or_damaged(self, folder: str) -> Mistake:
        batches = Path(self.root).expanduser() / folder
        if not batches.is_dir():
            return missing("CIFAR-10", self.root)
        return Mistake(
            f"data.root: {str(batches)!r} is incomplete or not the original CIFAR-10 "
            "(MD5 sums differ); set data.download = true to fetch it anew"
        )


def _part(stored: Any, limit: int, setting: str) -> Dataset:
    chosen = kept(len(stored.data), limit, setting)
    return images(stored.data[chosen], np.asarray(stored.targets)[chosen], 10, 255.0)
