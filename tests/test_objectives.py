"""Every local objective: a finite scalar that a model learns by; and what each is by hand."""

from math import exp, log

import pytest
import torch

from fedsim.models import Mlp, Softmax
from fedsim.objectives import OBJECTIVES
from fedsim.objectives.erm import Erm
from fedsim.seeds import torch_stream

EVERY = pytest.mark.parametrize("name", OBJECTIVES.entries)


def blobs(samples=200):
    """Two clouds that a line separates."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % 2
    centres = torch.tensor([[-2.0, -1.0], [2.0, 1.0]])
    return centres[labels] + 0.5 * torch.randn(samples, 2, generator=generator), labels


@EVERY
def test_learns_the_toy_task(name):
    objective = OBJECTIVES.load(name)()
    inputs, labels = blobs()
    with torch_stream(0, "test"):
        module = Mlp(hidden=(8,)).build((2,), 2)
        torch.nn.init.zeros_(module[-1].weight)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective.loss(module, inputs, labels)
        assert loss.shape == ()
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5
    assert (module(inputs).argmax(dim=1) == labels).float().mean() > 0.99


@EVERY
def test_leaves_the_batch_untouched(name):
    inputs, labels = blobs()
    before = inputs.clone(), labels.clone()
    OBJECTIVES.load(name)().loss(Softmax().build((2,), 2), inputs, labels).backward()
    assert torch.equal(inputs, before[0])
    assert torch.equal(labels, before[1])
    assert inputs.grad is None


def test_erm_by_hand():
    module = torch.nn.Identity()
    logits, labels = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.tensor([0, 1])
    # -log(1/2) and -log(e^3 / (e + e^3)) = log(1 + e^-2), their mean
    expected = (log(2) + log(1 + exp(-2))) / 2
    assert Erm().loss(module, logits, labels).item() == pytest.approx(expected, rel=1e-6)
