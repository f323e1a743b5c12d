"""The embedded digits."""

import torch
from sklearn.datasets import load_digits

from fedsim.data import DATASETS


def test_every_stored_digit_is_in_one_of_the_two_sets():
    train, test = DATASETS.load("digits")().load(0)
    stored = sorted(tuple(image.ravel()) for image in load_digits().images / 16)
    loaded = torch.cat([train.inputs, test.inputs]).double()
    assert sorted(tuple(image.ravel().tolist()) for image in loaded) == stored


def test_labels_stay_with_their_images():
    images, labels = load_digits(return_X_y=True)
    known = {tuple(image / 16): label for image, label in zip(images, labels, strict=True)}
    _, test = DATASETS.load("digits")().load(0)
    for image, label in zip(test.inputs.double(), test.labels, strict=True):
        assert known[tuple(image.ravel().tolist())] == label


def test_a_fifth_of_each_class_is_for_testing():
    train, test = DATASETS.load("digits")().load(0)
    # load_digits holds 178, 182, 177, 183, 181, 182, 181, 179, 174, 180 of 0 to 9.
    assert test.labels.bincount().tolist() == [36, 36, 35, 37, 36, 36, 36, 36, 35, 36]
    assert (len(train), len(test)) == (1438, 359)


def test_shape_type_and_range():
    for data in DATASETS.load("digits")().load(0):
        assert (data.shape, data.classes) == ((1, 8, 8), 10)
        assert (data.inputs.dtype, data.labels.dtype) == (torch.float32, torch.int64)
        assert (data.inputs.min(), data.inputs.max()) == (0, 1)


def test_the_split_is_the_same_under_every_seed():
    digits = DATASETS.load("digits")()
    for one, other in zip(digits.load(0), digits.load(1), strict=True):
        assert torch.equal(one.inputs, other.inputs)
