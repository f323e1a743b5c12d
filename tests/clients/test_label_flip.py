"""Label flipping: by hand, by definition, by refusal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import rng, steady, view

from clients.label_flip import LabelFlip
from fedsim.domain import Dataset, Mistake, Refused


def labelled(labels, classes):
    inputs = torch.arange(2.0 * len(labels)).view(-1, 2)
    return Dataset(inputs, torch.tensor(labels, dtype=torch.int64), classes)


def test_by_hand():
    # ten classes: y -> 9 - y
    poisoned = LabelFlip().poison(labelled([0, 1, 4, 9], 10), rng())
    assert poisoned.labels.tolist() == [9, 8, 5, 0]
    assert poisoned.labels.dtype == torch.int64
    assert torch.equal(poisoned.inputs, labelled([0, 1, 4, 9], 10).inputs)


def test_one_label_by_hand():
    poisoned = LabelFlip(source=7, target=1).poison(labelled([7, 1, 3, 7], 10), rng())
    assert poisoned.labels.tolist() == [1, 1, 3, 1]
    assert poisoned.labels.dtype == torch.int64


def test_label_zero_is_a_label():
    assert LabelFlip(source=0, target=2).poison(labelled([0, 1], 3), rng()).labels.tolist() == [2, 1]
    assert LabelFlip(source=2, target=0).poison(labelled([2, 1], 3), rng()).labels.tolist() == [0, 1]


@steady
@given(st.data(), st.integers(2, 6))
def test_by_definition(data, classes):
    label = st.integers(0, classes - 1)
    labels = data.draw(st.lists(label, max_size=8))
    assert LabelFlip().poison(labelled(labels, classes), rng()).labels.tolist() == [classes - 1 - y for y in labels]
    source = data.draw(label)
    target = data.draw(label.filter(lambda other: other != source))
    assert LabelFlip(source, target).poison(labelled(labels, classes), rng()).labels.tolist() == [
        target if y == source else y for y in labels
    ]


def test_uploads_what_training_on_the_flipped_labels_gave():
    shown = view([[1, 1], [2, 2]], [[9, 9]], poisoned=[[5, 6], [7, 8]])
    assert LabelFlip()(shown, rng()).tolist() == [[5, 6], [7, 8]]


@pytest.mark.parametrize("setting", [{"source": 1}, {"target": 1}, {"source": 0}])
def test_refuses_half_a_map(setting):
    with pytest.raises(Mistake) as refusal:
        LabelFlip(**setting)
    assert str(refusal.value) == "label_flip takes both source and target, or neither"


@pytest.mark.parametrize(("source", "target"), [(3, 0), (0, 3), (9, 8)])
def test_refuses_a_label_that_the_data_do_not_have(source, target):
    with pytest.raises(Refused) as refusal:
        LabelFlip(source, target).poison(labelled([0, 1, 2], 3), rng())
    assert str(refusal.value) == (
        f"label_flip refuses source = {source}, target = {target}: the data have labels 0 to 2"
    )


@pytest.mark.parametrize(("source", "target", "name"), [(-1, 3, "source"), (3, -1, "target")])
def test_refuses_a_negative_label(source, target, name):
    with pytest.raises(Mistake) as refusal:
        LabelFlip(source, target)
    assert str(refusal.value) == f"LabelFlip.{name}: -1 is out of range; must be at least 0"
