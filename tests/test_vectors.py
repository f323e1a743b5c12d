"""A module bound to one vector."""

import torch
from torch import nn

from fedsim.vectors import FlatModule, layout_of


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2))


def gradient_of(flat):
    return -flat.descent(flat.params, torch.empty(flat.layout.size))[: flat.layout.weights]


def test_layout_has_weights_before_buffers_and_no_counters():
    layout = layout_of(net())
    assert layout.names == (
        *("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"),
        *("1.running_mean", "1.running_var"),
    )
    assert layout.shapes == ((3, 2), (3,), (3,), (3,), (2, 3), (2,), (3,), (3,))
    assert (layout.weights, layout.size) == (23, 29)
    assert layout.slices[1] == slice(6, 9)
    assert layout.slices[-1] == slice(26, 29)


def test_binding_a_module_changes_none_of_its_values():
    module, plain = net(), net()
    module.load_state_dict(plain.state_dict())
    flat = FlatModule(module)
    tensors = plain.state_dict()
    expected = torch.cat([tensors[name].flatten() for name in flat.layout.names])
    assert torch.equal(flat.memory, expected)
    for name, value in module.state_dict().items():
        assert torch.equal(value, tensors[name])


def test_vector_and_module_are_one():
    flat = FlatModule(net())
    flat.memory.copy_(torch.arange(29.0))
    assert flat.module[0].weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert flat.module[1].running_var.tolist() == [26, 27, 28]
    with torch.no_grad():
        flat.module[3].bias.fill_(-1)
    assert flat.memory[21:23].tolist() == [-1, -1]
    flat.memory[:23].zero_()
    assert flat.module[0].bias.tolist() == [0, 0, 0]
    assert flat.module[1].running_var.tolist() == [26, 27, 28]


def test_forward_in_training_moves_the_buffers_part_alone():
    flat = FlatModule(net())
    before = flat.memory.clone()
    flat.module.train()
    flat.module(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(flat.memory[:23], before[:23])
    assert not torch.equal(flat.memory[23:], before[23:])


def test_backward_leaves_the_gradient_in_one_vector():
    module, plain = net(), net()
    module.load_state_dict(plain.state_dict())
    flat, inputs = FlatModule(module), torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(2):  # It is a sum until it is forgotten.
        flat.module(inputs).square().sum().backward()
        plain(inputs).square().sum().backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in plain.parameters()])
    torch.testing.assert_close(gradient_of(flat), expected)
