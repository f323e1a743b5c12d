"""MNIST and Fashion-MNIST, read from the files that their authors publish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fedsim.data.source import announce_download, images, kept, missing, unreachable
from fedsim.domain import Count, Dataset, Mistake
from fedsim.tables import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Idx(Settings):
    """What MNIST and its look-alikes have in common: four raw idx files under ROOT/<folder>/raw."""

    root: str = "data"
    download: bool = False
    train_limit: Count = 0
    test_limit: Count = 0

    title: ClassVar[str]
    folder: ClassVar[str]  # also the name of torchvision's class

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """60,000 training and 10,000 test samples unless limited; ``seed`` changes nothing."""
        self._obtain()
        return (
            self._part("train", self.train_limit, "data.train_limit"),
            self._part("t10k", self.test_limit, "data.test_limit"),
        )

    def _file(self, part: str, kind: str) -> Path:
        return Path(self.root).expanduser() / self.folder / "raw" / f"{part}-{kind}-ubyte"

    def _is_there(self) -> bool:
        return all(
            self._file(part, kind).is_file() for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
        )

    def _obtain(self) -> None:
        if self._is_there():
            return
        if not self.download:
            raise missing(self.title, self.root)
        import torchvision.datasets

        announce_download(self.title, self.root)
        try:
            getattr(torchvision.datasets, self.folder)(self.root, download=True)
        except (OSError, RuntimeError) as error:
            raise unreachable(self.title, error) from error
        if not self._is_there():
            raise missing(self.title, self.root)

    def _part(self, part: str, limit: int, setting: str) -> Dataset:
        pixels = _read(self._file(part, "images-idx3"))
        labels = _read(self._file(part, "labels-idx1"))
        if len(pixels) != len(labels):
            raise Mistake(f"data.root: {len(pixels)} images but {len(labels)} labels under {self.root!r}")
        chosen = kept(len(labels), limit, setting)
        return images(pixels[chosen], labels[chosen], 10, 255.0)


def _read(path: Path) -> NDArray[np.generic]:
    """Images (m, height, width) or labels (m,), as the file's name says."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    # torchvision's MNIST class would prefer a cached .pt file to the raw ones; its readers know only these.
    read = read_image_file if "images" in path.name else read_label_file
    try:
        array: NDArray[np.generic] = read(str(path)).numpy()
    except (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise Mistake(f"data.root: {str(path)!r} is damaged; take it away and set data.download = true") from error
    return array


@dataclass(frozen=True)
class Mnist(_Idx):
    """MNIST: 70,000 handwritten digits, (1, 28, 28), ten classes.

    Fields:
        root: holds MNIST/raw/train-images-idx3-ubyte and its three companions, unpacked.
        download: fetch them (11 MB) when they are missing; torchvision checks the MD5 sums.
        train_limit, test_limit: take the first so many of one fixed shuffle, the same for every seed; 0 is
            all.
    Source: LeCun et al., Proc. IEEE 1998.
    """

    title: ClassVar[str] = "MNIST"
    folder: ClassVar[str] = "MNIST"


@dataclass(frozen=True)
class FashionMnist(_Idx):
    """Fashion-MNIST: 70,000 pictures of clothes, (1, 28, 28), ten classes.

    Fields:
        root: holds FashionMNIST/raw/train-images-idx3-ubyte and its three companions, unpacked.
        download: fetch them (30 MB) when they are missing; torchvision checks the MD5 sums.
        train_limit, test_limit: take the first so many of one fixed shuffle, the same for every seed; 0 is
            all.
    Source: Xiao et al., arXiv:1708.07747.
    """

    title: ClassVar[str] = "Fashion-MNIST"
    folder: ClassVar[str] = "FashionMNIST"
