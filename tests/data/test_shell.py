"""The synthetic task of the DRFL paper."""

from math import exp, sqrt

import pytest
import torch

from fedsim.data.shell import Shell
from fedsim.domain import Mistake

RADIUS = {"paper": 2, "sinha": sqrt(2)}


@pytest.mark.parametrize("variant", RADIUS)
def test_labels_say_which_side_of_the_circle(variant):
    train, test = Shell(variant, train=2000, test=1000).load(3)
    assert (len(train), len(test)) == (2000, 1000)
    for data in (train, test):
        assert (data.shape, data.classes) == ((2,), 2)
        assert (data.inputs.dtype, data.labels.dtype) == (torch.float32, torch.int64)
        assert torch.equal(data.labels, (data.inputs.double().norm(dim=1) > RADIUS[variant]).long())


def test_paper_variant_is_standard_normal():
    data, _ = Shell(train=50000, test=1).load(0)
    assert data.inputs.mean(dim=0).tolist() == pytest.approx([0, 0], abs=0.02)
    assert data.inputs.T.cov().ravel().tolist() == pytest.approx([1, 0, 0, 1], abs=0.03)
    # |x|^2 is exponential with mean 2, so P(|x| > 2) = exp(-2).
    assert data.labels.double().mean().item() == pytest.approx(exp(-2), abs=0.006)


def test_sinha_variant_leaves_a_gap():
    data, _ = Shell("sinha", train=50000, test=1).load(0)
    norms = data.inputs.double().norm(dim=1)
    assert not ((norms > sqrt(2) / 1.3) & (norms < sqrt(2) * 1.3)).any()
    # Of |x|^2 ~ exponential with mean 2: inside |x|^2 < 2 / 1.69, outside |x|^2 > 2 * 1.69.
    inside, outside = 1 - exp(-1 / 1.69), exp(-1.69)
    assert data.labels.double().mean().item() == pytest.approx(outside / (inside + outside), abs=0.01)


@pytest.mark.parametrize("variant", RADIUS)
def test_seeded(variant):
    one, same, other = (Shell(variant, train=50, test=50).load(seed) for seed in (1, 1, 2))
    assert torch.equal(one[0].inputs, same[0].inputs)
    assert torch.equal(one[1].inputs, same[1].inputs)
    assert not torch.equal(one[0].inputs, other[0].inputs)
    assert not torch.equal(one[0].inputs, one[1].inputs)


@pytest.mark.parametrize("variant", RADIUS)
def test_fewer_samples_are_the_first_of_more(variant):
    few, _ = Shell(variant, train=10, test=1).load(0)
    many, _ = Shell(variant, train=300, test=1).load(0)
    assert torch.equal(few.inputs, many.inputs[:10])


def test_refuses_no_samples():
    with pytest.raises(Mistake, match=r"^Shell\.train: 0 is out of range; must be at least 1$"):
        Shell(train=0)
