"""Handwritten digits that come with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.source import images
from fedsim.seeds import stream
from fedsim.tables import Settings

if TYPE_CHECKING:
    from fedsim.domain import Dataset

_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Digits(Settings):
    """1797 handwritten digits of 8 x 8 pixels, embedded in scikit-learn: nothing is downloaded.

    Inputs are (1, 8, 8), the stored 0..16 divided by 16. A fifth of each class, rounded, is the test set. The
    split is fixed: no seed changes it, so all runs are judged on the same samples.

    Source: Alpaydin and Kaynak, UCI "Optical Recognition of Handwritten Digits", 1998, of which scikit-learn
    holds the test part.
    """

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """1438 training and 359 test samples."""
        from sklearn.datasets import load_digits

        stored = load_digits()
        pixels, labels = stored.images, stored.target
        rng = stream(0, "data", "digits")
        test = np.zeros(len(labels), dtype=bool)
        for label in range(10):
            members = rng.permutation(np.flatnonzero(labels == label))
            test[members[: round(_TEST_SHARE * len(members))]] = True
        return images(pixels[~test], labels[~test], 10, 16.0), images(pixels[test], labels[test], 10, 16.0)
