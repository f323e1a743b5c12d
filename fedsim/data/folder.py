"""Any folder of images, one folder a class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedsim.data.source import images
from fedsim.domain import Count, Dataset, Mistake
from fedsim.tables import Settings

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Folder(Settings):
    """A folder of your own images: ROOT/train/<class>/*.png and ROOT/test/<class>/*.png.

    Files directly in a class's folder are read that end in .png, .jpg, .jpeg, .bmp or .webp, in the order
    of their names; others are left alone. Classes are numbered in the order of their folders' names.
    Transparency is dropped. The whole set is held in memory, four bytes a pixel and channel.

    Fields:
        root: holds train/ and test/.
        size: resize every image to size x size, bilinear, whatever its proportions; 0 leaves them as they
            are.
        gray: one channel of brightness instead of red, green and blue.
    Refuses: an empty class; classes that differ between train and test; a file that is no readable image; a
        gray image of more than eight bits, which Pillow would clip; images of several sizes, unless ``size``
        is given.
    """

    root: str
    size: Count = 0
    gray: bool = False

    def load(self, seed: int) -> tuple[Dataset, Dataset]:
        """The training and the test set; ``seed`` changes nothing."""
        root = Path(self.root).expanduser()
        train, test = root / "train", root / "test"
        classes = _classes(train)
        if (found := _classes(test)) != classes:
            odd = min(set(found) ^ set(classes))
            has, lacks = (train, test) if odd in classes else (test, train)
            raise Mistake(f"data.root: class {odd!r} is under {str(has)!r} but not under {str(lacks)!r}")
        train_files, test_files = _files(train, classes), _files(test, classes)
        first = train_files[0][0]
        shape = self._read(first).shape
        return self._part(train_files, first, shape), self._part(test_files, first, shape)

    def _part(self, files: list[tuple[Path, int]], first: Path, shape: tuple[int, ...]) -> Dataset:
        pixels = np.empty((len(files), *shape), dtype=np.uint8)
        for row, (path, _) in enumerate(files):
            image = self._read(path)
            if image.shape != shape:
                raise Mistake(
                    f"data.size: {str(path)!r} is {_sides(image.shape)} "
                    f"but {str(first)!r} is {_sides(shape)}; set data.size to resize all images"
                )
            pixels[row] = image
        labels = np.array([label for _, label in files])
        return images(pixels, labels, int(labels.max()) + 1, 255.0)

    def _read(self, path: Path) -> Pixels:
        """One image, (height, width) if gray, else (height, width, 3)."""
        from PIL import Image

        try:
            with Image.open(path, formats=_FORMATS) as opened:
                image = opened.copy()
        except Exception as error:  # a decoder raises anything when a file is damaged
            raise Mistake(f"data.root: {str(path)!r} is not a readable image; mend it or take it away") from error
        if image.mode.startswith("I"):
            raise Mistake(f"data.root: {str(path)!r} has more than eight bits a pixel; convert it to eight")
        plain = image.convert("L" if self.gray else "RGB")
        if self.size:
            plain = plain.resize((self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(plain)


def _classes(part: Path) -> list[str]:
    """Names of the classes under ROOT/train or ROOT/test."""
    names = sorted(entry.name for entry in part.glob("[!.]*") if entry.is_dir())
    if not any(_images_in(part / name) for name in names):
        raise _no_images(part, "<class>/")
    return names


def _files(part: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """Each image with its class's number."""
    found = []
    for label, name in enumerate(classes):
        if not (paths := _images_in(part / name)):
            raise _no_images(part / name, "")
        found += [(path, label) for path in paths]
    return found


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in _ENDINGS)


def _no_images(folder: Path, below: str) -> Mistake:
    return Mistake(
        f"data.root: no images under {str(folder)!r}; expected {folder}/{below}*.png (or .jpg, .jpeg, .bmp, .webp)"
    )


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
