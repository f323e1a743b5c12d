"""A convolutional module bound to one vector: what it computes, and what of it is read in the layout's order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fedsim.models import Lenet5
from fedsim.seeds import torch_stream
from fedsim.vectors import FlatModule


class Nested(nn.Module):
    """Filters and statistics below the first level, one layer that nobody calls, and one filter used twice."""

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, 3, 3, padding=1)
        self.block = nn.Sequential(first, nn.BatchNorm2d(3), nn.ReLU())
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.again.weight = first.weight
        self.idle = nn.Conv2d(2, 5, 2)
        self.head = nn.Linear(3 * 6 * 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.again(self.block(x)).flatten(1))
        return logits


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet5": (lambda: Lenet5().build((1, 28, 28), 10), (1, 28, 28)),
    "nested": (Nested, (3, 6, 5)),
    "one convolution": (lambda: nn.Conv2d(3, 4, (2, 3)), (3, 6, 5)),
    "groups and single pixels": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 5, 1, bias=False), nn.Tanh()),
        (4, 6, 5),
    ),
    "other convolutions": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 2), nn.Flatten(2), nn.Conv1d(3, 4, 2), nn.Flatten()),
        (2, 3, 3),
    ),
    "normalised": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten()), (2, 5, 5)),
}
EVERY = pytest.mark.parametrize("name", NETS)


def plain(name: str) -> nn.Module:
    """The same initial network every time it is asked for."""
    with torch_stream(0, "net"):
        return NETS[name][0]()


def batch(name: str) -> Tensor:
    """Four inputs."""
    return torch.randn(4, *NETS[name][1], generator=torch.Generator().manual_seed(0))


def joined(module: nn.Module, names: tuple[str, ...]) -> Tensor:
    """Tensors of a module in one vector, in the order of these names."""
    tensors = module.state_dict()
    return torch.cat([tensors[name].flatten() for name in names])


def anything(size: int) -> Tensor:
    """A vector of some numbers, signed zeros and extremes among them."""
    vector = torch.randn(size, generator=torch.Generator().manual_seed(1))
    vector[:5] = torch.tensor([0.0, -0.0, 1e-45, -3e38, float("inf")])
    return vector


def gradient_of(flat: FlatModule) -> Tensor:
    return -flat.descent(flat.params, torch.empty(flat.layout.size))[: flat.layout.weights]


@EVERY
def test_binding_changes_no_value(name: str) -> None:
    expected, flat = plain(name), FlatModule(plain(name))
    assert torch.equal(flat.params, joined(expected, flat.layout.names))
    for key, value in flat.module.state_dict().items():
        assert torch.equal(value, expected.state_dict()[key])


@EVERY
def test_what_is_loaded_is_read_back_bit_for_bit(name: str) -> None:
    flat = FlatModule(plain(name))
    vector = anything(flat.layout.size)
    before = vector.numpy().tobytes()
    flat.load(vector)
    assert flat.params.numpy().tobytes() == before
    assert joined(flat.module, flat.layout.names).numpy().tobytes() == before
    assert vector.numpy().tobytes() == before


@EVERY
def test_what_is_read_is_a_copy(name: str) -> None:
    flat = FlatModule(plain(name))
    read, loaded = flat.params, torch.ones(flat.layout.size)
    read.zero_()
    flat.load(loaded)
    loaded.zero_()
    assert flat.params.tolist() == [1.0] * flat.layout.size


@EVERY
def test_module_and_vector_are_one(name: str) -> None:
    flat = FlatModule(plain(name))
    flat.memory.fill_(0.5)
    assert all((tensor == 0.5).all() for tensor in flat.tensors)
    with torch.no_grad():
        for tensor in flat.tensors:
            tensor.fill_(-1)
    d = flat.layout.weights
    assert flat.params[:d].tolist() == [-1.0] * d
    assert flat.params[d:].tolist() == [0.5] * (flat.layout.size - d)


@EVERY
def test_changes_are_told_in_the_layouts_order(name: str) -> None:
    flat = FlatModule(plain(name))
    before, after = torch.randn(2, flat.layout.size, generator=torch.Generator().manual_seed(2))
    flat.load(after)
    out = torch.full((3, flat.layout.size), 7.0)
    found = flat.change_since(before, out[1])
    assert torch.equal(found, after - before)
    assert torch.equal(out[1], after - before)
    assert (out[[0, 2]] == 7).all()
    assert torch.equal(flat.params, after)


@EVERY
def test_computes_what_the_plain_module_does(name: str) -> None:
    expected, flat = plain(name), FlatModule(plain(name))
    for module in (expected, flat.module):
        module.train()
    torch.testing.assert_close(flat.module(batch(name)), expected(batch(name)))
    with torch.no_grad():
        for parameter in expected.parameters():
            parameter.mul_(1.1)
    flat.load(joined(expected, flat.layout.names))
    torch.testing.assert_close(flat.module(batch(name)), expected(batch(name)))
    # The statistics of two batches, where the net keeps any.
    torch.testing.assert_close(flat.params, joined(expected, flat.layout.names))


@EVERY
def test_the_gradient_is_autograds(name: str) -> None:
    expected, flat = plain(name), FlatModule(plain(name))
    for passes in (1, 2):  # It is a sum until it is forgotten.
        flat.module(batch(name)).square().sum().backward()
        expected(batch(name)).square().sum().backward()
        gradients = [torch.zeros_like(it) if it.grad is None else it.grad for it in expected.parameters()]
        found = gradient_of(flat)
        assert found.shape == (flat.layout.weights,)
        torch.testing.assert_close(found, torch.cat([it.flatten() for it in gradients]), rtol=1e-4, atol=1e-4 * passes)
        assert found.abs().max() > 0.1
    flat.forget_gradient()
    assert not gradient_of(flat).any()
    flat.module(batch(name)).sum().backward()
    assert gradient_of(flat).any()


def test_a_layer_nobody_calls_has_a_gradient_of_zero() -> None:
    flat = FlatModule(plain("nested"))
    flat.module(batch("nested")).sum().backward()
    parts = dict(zip(flat.layout.names, flat.layout.slices, strict=True))
    assert not gradient_of(flat)[parts["idle.weight"]].any()
    assert gradient_of(flat)[parts["block.0.weight"]].all()


@pytest.mark.parametrize("name", ["nested", "normalised"])
def test_statistics_move_with_the_batch_and_come_back_with_the_vector(name: str) -> None:
    flat = FlatModule(plain(name))
    before, d = flat.params, flat.layout.weights
    flat.module.train()
    flat.module(batch(name))
    assert torch.equal(flat.params[:d], before[:d])
    assert (flat.params[d:] != before[d:]).all()
    assert flat.normalises
    flat.load(before)
    assert torch.equal(flat.params, before)


def test_filters_lie_channels_last() -> None:
    flat = FlatModule(plain("lenet5"))
    filters = [tensor for tensor in flat.tensors if tensor.dim() == 4]
    assert len(filters) == 2
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in filters)
    assert not flat.normalises


@EVERY
def test_descent_tells_the_buffers_change_too(name: str) -> None:
    flat = FlatModule(plain(name))
    before, d = flat.params, flat.layout.weights
    flat.module.train()
    flat.module(batch(name)).square().sum().backward()
    found = flat.descent(before, torch.full_like(before, 7))
    assert torch.equal(found[d:], flat.memory[d:] - before[d:])
    assert bool(found[d:].any()) == flat.normalises


def test_wide_filters_of_many_channels_stay_in_the_usual_order() -> None:
    def memory_of(*convolutions: torch.nn.Conv2d) -> list[bool]:
        flat = FlatModule(torch.nn.Sequential(*convolutions))
        return [bool(it.is_contiguous()) for it in flat.tensors if it.dim() == 4]

    thin, wide, narrow = torch.nn.Conv2d(2, 6, 5), torch.nn.Conv2d(6, 64, 5), torch.nn.Conv2d(6, 64, 3)
    assert memory_of(thin, narrow) == [False, False]
    assert memory_of(thin, wide) == [True, True]
