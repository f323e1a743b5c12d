"""MNIST and Fashion-MNIST: from small idx files written here, and from the real ones where they lie."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from fedsim.data import DATASETS
from fedsim.data.mnist import FashionMnist, Mnist
from fedsim.domain import Mistake

ENTRIES = [(Mnist, "MNIST"), (FashionMnist, "FashionMNIST")]


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_small(root: Path, folder: str = "MNIST") -> tuple[np.ndarray, np.ndarray]:
    """Twelve training and five test images under ``root``."""
    pixels = np.random.default_rng(0).integers(0, 256, (17, 28, 28))
    pixels[:, 0, 0] = 255
    labels = np.arange(17) % 10
    for part, rows in (("train", slice(12)), ("t10k", slice(12, None))):
        write_idx(root / folder / "raw" / f"{part}-images-idx3-ubyte", pixels[rows])
        write_idx(root / folder / "raw" / f"{part}-labels-idx1-ubyte", labels[rows])
    return pixels, labels


@pytest.fixture
def offline(monkeypatch):
    def refuse(self):
        pytest.fail("a download was tried")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", refuse)


@pytest.mark.parametrize(("entry", "folder"), ENTRIES)
@pytest.mark.usefixtures("offline")
def test_reads_the_raw_files(tmp_path, entry, folder):
    pixels, labels = write_small(tmp_path, folder)
    train, test = entry(str(tmp_path)).load(0)
    assert torch.equal(train.inputs, torch.from_numpy(pixels[:12, None] / np.float32(255)).float())
    assert torch.equal(test.inputs, torch.from_numpy(pixels[12:, None] / np.float32(255)).float())
    assert train.labels.tolist() == labels[:12].tolist()
    assert test.labels.tolist() == labels[12:].tolist()
    assert (train.shape, train.classes) == ((1, 28, 28), 10)
    assert (train.inputs.dtype, train.labels.dtype) == (torch.float32, torch.int64)
    assert train.inputs.max() == 1


@pytest.mark.usefixtures("offline")
def test_a_cached_pt_file_is_not_read(tmp_path):
    write_small(tmp_path)
    processed = tmp_path / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(b"anything")
    assert len(Mnist(str(tmp_path)).load(0)[0]) == 12


@pytest.mark.usefixtures("offline")
def test_limits_take_the_first_of_one_shuffle(tmp_path):
    write_small(tmp_path)
    everything = Mnist(str(tmp_path)).load(0)[0]
    five, test = Mnist(str(tmp_path), train_limit=5, test_limit=2).load(0)
    seven = Mnist(str(tmp_path), train_limit=7).load(1)[0]
    assert (len(five), len(test)) == (5, 2)
    assert torch.equal(five.inputs, seven.inputs[:5])
    rows = [(everything.inputs == image).flatten(1).all(dim=1).nonzero().item() for image in five.inputs]
    assert five.labels.tolist() == [everything.labels[row] for row in rows]
    assert len(set(rows)) == 5
    assert rows != [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("offline")
def test_refuses_a_limit_beyond_the_data(tmp_path):
    write_small(tmp_path)
    with pytest.raises(Mistake) as refusal:
        Mnist(str(tmp_path), test_limit=6).load(0)
    assert str(refusal.value) == "data.test_limit: 6 asked for, but there are 5 samples; 0 takes all"


@pytest.mark.parametrize(("name", "title"), [("mnist", "MNIST"), ("fashion_mnist", "Fashion-MNIST")])
@pytest.mark.usefixtures("offline")
def test_says_how_to_get_what_is_missing(tmp_path, monkeypatch, name, title):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Mistake) as refusal:
        DATASETS.load(name)().load(0)
    assert str(refusal.value) == (
        f"data.root: no {title} under 'data'; set data.download = true to fetch it, or data.root to where it lies"
    )
    assert list(tmp_path.iterdir()) == []


def test_one_missing_file_is_enough_to_refuse(tmp_path):
    write_small(tmp_path)
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(Mistake, match=r"^data\.root: no MNIST under "):
        Mnist(str(tmp_path)).load(0)


@pytest.mark.usefixtures("offline")
def test_refuses_a_cut_off_file(tmp_path):
    write_small(tmp_path)
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Mistake) as refusal:
        Mnist(str(tmp_path)).load(0)
    assert str(refusal.value) == (f"data.root: {str(path)!r} is damaged; take it away and set data.download = true")


@pytest.mark.usefixtures("offline")
def test_refuses_images_without_labels(tmp_path):
    write_small(tmp_path)
    write_idx(tmp_path / "MNIST/raw/train-labels-idx1-ubyte", np.zeros(11))
    with pytest.raises(Mistake) as refusal:
        Mnist(str(tmp_path)).load(0)
    assert str(refusal.value) == f"data.root: 12 images but 11 labels under {str(tmp_path)!r}"


def test_a_download_says_so_and_happens_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: write_small(Path(self.root)))
    mnist = Mnist(str(tmp_path), download=True)
    assert len(mnist.load(0)[0]) == 12
    assert capsys.readouterr().err == f"data.download = true: fetching MNIST into {str(tmp_path)!r}\n"
    mnist.load(0)
    assert capsys.readouterr().err == ""


def test_a_failed_download_is_told_in_one_line(tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError("Error downloading x:\nTried y, got:\nnothing")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", fail)
    with pytest.raises(Mistake) as refusal:
        Mnist(str(tmp_path), download=True).load(0)
    assert str(refusal.value) == ("data.download: cannot fetch MNIST: Error downloading x: Tried y, got: nothing")


def test_the_real_one():
    root = Path(os.environ.get("FEDSIM_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (root / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST under {root}; set FEDSIM_TEST_DATA to a folder that holds MNIST/raw")
    train, test = Mnist(str(root)).load(0)
    assert (train.inputs.shape, test.inputs.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    # The mean brightness that everyone normalises MNIST by.
    assert train.inputs.mean().item() == pytest.approx(0.1307, abs=1e-4)
    # LeCun's page: the first labels are 5 0 4 1 9 and 7 2 1 0 4.
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
