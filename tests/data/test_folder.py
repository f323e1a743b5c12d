"""A folder of images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fedsim.data.folder import Folder
from fedsim.domain import Mistake


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def colour(red: int, green: int, blue: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), (red, green, blue))


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "train/cat/b.png", colour(255, 0, 51))
    write(tmp_path / "train/cat/a.BMP", colour(0, 102, 0))
    write(tmp_path / "train/ant/z.png", colour(1, 2, 3))
    write(tmp_path / "test/ant/0.png", colour(4, 5, 6))
    write(tmp_path / "test/cat/0.png", colour(7, 8, 9))
    return tmp_path


def refusal(**settings: object) -> str:
    with pytest.raises(Mistake) as caught:
        Folder(**settings).load(0)
    return str(caught.value)


def test_classes_and_files_in_the_order_of_their_names(root):
    train, test = Folder(str(root)).load(0)
    assert (train.inputs.shape, test.inputs.shape) == ((3, 3, 4, 6), (2, 3, 4, 6))
    # ant/z, cat/a, cat/b
    assert train.labels.tolist() == [0, 1, 1]
    assert train.inputs[:, :, 0, 0].mul(255).round().tolist() == [[1, 2, 3], [0, 102, 0], [255, 0, 51]]
    assert test.labels.tolist() == [0, 1]
    assert (train.classes, test.classes) == (2, 2)
    assert (train.inputs.dtype, train.labels.dtype) == (torch.float32, torch.int64)


def test_every_pixel_is_where_it_was(root):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3))
    write(root / "train/ant/z.png", pixels)
    train, _ = Folder(str(root)).load(0)
    assert torch.equal(train.inputs[0], torch.from_numpy(pixels.transpose(2, 0, 1) / np.float32(255)).float())


def test_gray(root):
    train, _ = Folder(str(root), gray=True).load(0)
    assert train.shape == (1, 4, 6)
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B
    assert train.inputs[:, 0, 0, 0].mul(255).tolist() == pytest.approx([2, 59.9, 82], abs=1)


def test_resized(root):
    write(root / "train/ant/z.png", colour(1, 2, 3, height=9, width=2))
    train, test = Folder(str(root), size=5).load(0)
    assert train.shape == test.shape == (3, 5, 5)
    assert train.inputs[0].mul(255).round().unique().tolist() == [1, 2, 3]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "webp", "PNG"])
def test_other_formats(root, ending):
    write(root / f"train/ant/y.{ending}", colour(100, 100, 100))
    train, _ = Folder(str(root)).load(0)
    assert train.inputs[0].mul(255).flatten().tolist() == pytest.approx([100] * 72, abs=3)


def test_other_files_are_left_alone(root):
    (root / "train/ant/notes.txt").write_text("not an image")
    (root / "train/ant/.z.png").write_text("left behind by a file manager")
    (root / "train/.cache").mkdir()
    (root / "train/readme.md").write_text("not a class")
    assert len(Folder(str(root)).load(0)[0]) == 3


@pytest.mark.parametrize("part", ["train", "test"])
def test_refuses_an_empty_folder(root, part):
    for path in (root / part).rglob("*.*"):
        path.unlink()
    assert refusal(root=str(root)) == (
        f"data.root: no images under '{root}/{part}'; "
        f"expected {root}/{part}/<class>/*.png (or .jpg, .jpeg, .bmp, .webp)"
    )


def test_refuses_a_folder_that_is_not_there(tmp_path):
    assert refusal(root=str(tmp_path / "nowhere")) == (
        f"data.root: no images under '{tmp_path}/nowhere/train'; "
        f"expected {tmp_path}/nowhere/train/<class>/*.png (or .jpg, .jpeg, .bmp, .webp)"
    )


def test_refuses_an_empty_class(root):
    (root / "test/ant/0.png").unlink()
    assert refusal(root=str(root)) == (
        f"data.root: no images under '{root}/test/ant'; expected {root}/test/ant/*.png (or .jpg, .jpeg, .bmp, .webp)"
    )


@pytest.mark.parametrize(("has", "lacks"), [("train", "test"), ("test", "train")])
def test_refuses_classes_that_differ(root, has, lacks):
    write(root / has / "bee/0.png", colour(0, 0, 0))
    assert refusal(root=str(root)) == (f"data.root: class 'bee' is under '{root}/{has}' but not under '{root}/{lacks}'")


@pytest.mark.parametrize("damage", ["text", "cut off"])
def test_refuses_a_file_that_is_no_image(root, damage):
    path = root / "train/cat/b.png"
    path.write_bytes(b"hello" if damage == "text" else path.read_bytes()[:-30])
    assert refusal(root=str(root)) == (f"data.root: '{path}' is not a readable image; mend it or take it away")


def test_refuses_images_of_several_sizes(root):
    write(root / "test/cat/0.png", colour(0, 0, 0, height=5, width=7))
    assert refusal(root=str(root)) == (
        f"data.size: '{root}/test/cat/0.png' is 7 x 5 but '{root}/train/ant/z.png' is 6 x 4; "
        "set data.size to resize all images"
    )


def test_refuses_deep_gray(root):
    Image.fromarray(np.full((4, 6), 1000, dtype=np.uint16)).save(root / "train/cat/b.png")
    assert refusal(root=str(root)) == (
        f"data.root: '{root}/train/cat/b.png' has more than eight bits a pixel; convert it to eight"
    )
