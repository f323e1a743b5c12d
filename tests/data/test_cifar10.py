"""CIFAR-10, from a miniature of its files."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from fedsim.data.cifar10 import Cifar10
from fedsim.domain import Mistake


@pytest.fixture
def miniature(tmp_path, monkeypatch):
    """Six training and three test images in CIFAR-10's format, whose sums torchvision is told to expect."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3072), dtype=np.uint8)
    labels = [3, 1, 4, 1, 5, 9, 2, 6, 5]

    def write(name: str, content: dict) -> str:
        path = tmp_path / CIFAR10.base_folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pickle.dumps(content))
        return hashlib.md5(path.read_bytes()).hexdigest()

    batches = [("data_batch_1", slice(4)), ("data_batch_2", slice(4, 6)), ("test_batch", slice(6, None))]
    sums = [[name, write(name, {"data": pixels[rows], "labels": labels[rows]})] for name, rows in batches]
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "train_list", sums[:2])
    monkeypatch.setattr(CIFAR10, "test_list", sums[2:])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return str(tmp_path), pixels, labels


def test_reads_channels_first_between_0_and_1(miniature):
    root, pixels, labels = miniature
    train, test = Cifar10(root).load(0)
    # A row of the file is 1024 red, then 1024 green, then 1024 blue values.
    expected = torch.from_numpy(pixels.reshape(9, 3, 32, 32) / np.float32(255)).float()
    assert torch.equal(torch.cat([train.inputs, test.inputs]), expected)
    assert train.labels.tolist() + test.labels.tolist() == labels
    assert (len(train), train.shape, train.classes) == (6, (3, 32, 32), 10)
    assert (train.inputs.dtype, train.labels.dtype) == (torch.float32, torch.int64)


def test_limits(miniature):
    root, _, _ = miniature
    train, test = Cifar10(root, train_limit=4, test_limit=1).load(0)
    assert (len(train), len(test)) == (4, 1)
    with pytest.raises(Mistake) as refusal:
        Cifar10(root, train_limit=7).load(0)
    assert str(refusal.value) == "data.train_limit: 7 asked for, but there are 6 samples; 0 takes all"


def test_a_file_that_is_not_the_original_is_refused_and_never_unpickled(miniature, monkeypatch):
    root, _, _ = miniature
    (Path(root) / CIFAR10.base_folder / "data_batch_2").write_bytes(pickle.dumps({"data": [], "labels": []}))
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(Mistake) as refusal:
        Cifar10(root).load(0)
    assert str(refusal.value) == (
        f"data.root: {str(Path(root) / 'cifar-10-batches-py')!r} is incomplete or not the original CIFAR-10 "
        "(MD5 sums differ); set data.download = true to fetch it anew"
    )


def test_says_how_to_get_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CIFAR10, "download", lambda self: pytest.fail("a download was tried"))
    with pytest.raises(Mistake) as refusal:
        Cifar10().load(0)
    assert str(refusal.value) == (
        "data.root: no CIFAR-10 under 'data'; set data.download = true to fetch it, or data.root to where it lies"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_download_says_so_and_a_failed_one_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    def fail(self):
        raise OSError("no\nroute")

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(Mistake) as refusal:
        Cifar10(str(tmp_path), download=True).load(0)
    assert str(refusal.value) == "data.download: cannot fetch CIFAR-10: no route"
    assert capsys.readouterr().err == f"data.download = true: fetching CIFAR-10 into {str(tmp_path)!r}\n"


def test_nothing_is_fetched_when_it_is_there(miniature, monkeypatch, capsys):
    root, _, _ = miniature
    monkeypatch.setattr(CIFAR10, "download", lambda self: pytest.fail("a download was tried"))
    assert len(Cifar10(root, download=True).load(0)[0]) == 6
    assert capsys.readouterr().err == ""
