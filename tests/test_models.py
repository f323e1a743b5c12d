"""Every model: its size, its output, its flat vector, and what it refuses."""

import pytest
import torch

from fedsim.domain import Mistake
from fedsim.models import MODELS, DrflMnist, DrflSynthetic, Lenet5, Mlp, RomoaCifar10, RomoaMnist, Softmax
from fedsim.seeds import torch_stream
from fedsim.vectors import FlatModule, layout_of

MNIST, CIFAR10, DIGITS = (1, 28, 28), (3, 32, 32), (1, 8, 8)

HOME = {
    "softmax": (DIGITS, 10, 650),  # 64 * 10 + 10
    "mlp": (DIGITS, 10, 4810),  # 64 * 64 + 64 + 64 * 10 + 10
    "lenet5": (MNIST, 10, 61_706),
    "romoa_mnist": (MNIST, 10, 3_382_346),
    "romoa_cifar10": (CIFAR10, 10, 6_088_650),
    "drfl_synthetic": ((2,), 2, 28),
    "drfl_mnist": (MNIST, 10, 710_218),
    "resnet18": (CIFAR10, 10, 11_173_962),
}
"""The shape each was made for, the classes, and its parameters."""

EVERY = pytest.mark.parametrize("name", MODELS.entries)


def build(name, shape=None, classes=None, seed=0):
    home, home_classes, _ = HOME[name]
    with torch_stream(seed, "test"):
        return MODELS.load(name)().build(shape or home, classes or home_classes)


def batch(name, size=3):
    return torch.rand(size, *HOME[name][0], generator=torch.Generator().manual_seed(0))


def per_layer(module):
    return [
        sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        for layer in module.modules()
        if list(layer.parameters(recurse=False))
    ]


def gradient_of(flat):
    return -flat.descent(flat.params, torch.empty(flat.layout.size))[: flat.layout.weights]


@EVERY
def test_has_the_published_number_of_parameters(name):
    assert layout_of(build(name)).weights == HOME[name][2]


def test_romoa_layers_are_those_of_the_papers_tables():
    assert per_layer(RomoaMnist().build(MNIST, 10)) == [1664, 102464, 3276928, 1290]
    assert per_layer(RomoaCifar10().build(CIFAR10, 10)) == [
        *(1792, 36928, 73856, 147584, 147584, 295168, 590080, 590080, 4195328, 10250)
    ]


def test_romoa_shapes_are_those_of_the_papers_tables():
    def shapes(module, shape, kinds):
        found, x = [], torch.zeros(1, *shape)
        for layer in module:
            x = layer(x)
            if isinstance(layer, kinds):
                found.append(tuple(x.shape[1:]))
        return found

    nn = torch.nn
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Flatten, nn.Linear)
    assert shapes(RomoaMnist().build(MNIST, 10), MNIST, kinds) == [
        *((64, 24, 24), (64, 20, 20), (25600,), (128,), (10,))
    ]
    assert shapes(RomoaCifar10().build(CIFAR10, 10), CIFAR10, kinds) == [
        *((64, 32, 32), (64, 32, 32), (64, 16, 16)),
        *((128, 16, 16), (128, 16, 16), (128, 16, 16), (128, 8, 8)),
        *((256, 8, 8), (256, 8, 8), (256, 8, 8), (256, 4, 4)),
        *((4096,), (1024,), (10,)),
    ]


def test_romoa_drops_out_as_the_papers_tables_say():
    def rates(module):
        return [layer.p for layer in module if isinstance(layer, torch.nn.Dropout)]

    assert rates(RomoaMnist().build(MNIST, 10)) == [0.25, 0.5]
    assert rates(RomoaCifar10().build(CIFAR10, 10)) == [0.5]


@EVERY
def test_gives_one_logit_a_class(name):
    for classes in (HOME[name][1], 7):
        assert build(name, classes=classes)(batch(name)).shape == (3, classes)


@EVERY
def test_initial_weights_come_from_the_seeded_generator(name):
    one, same, other = (FlatModule(build(name, seed=seed)).params for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@EVERY
def test_writing_the_vector_changes_the_output(name):
    flat = FlatModule(build(name).eval())
    before = flat.module(batch(name)).detach().clone()
    assert before.abs().max() > 0
    kept = flat.memory.clone()
    flat.memory.zero_()
    assert torch.equal(flat.module(batch(name)), torch.zeros_like(before))
    flat.memory.copy_(kept)
    assert torch.equal(flat.module(batch(name)), before)


@EVERY
def test_the_gradient_lands_in_the_flat_vector(name):
    labels = torch.tensor([0, 1, 1])
    module, twin = build(name).eval(), build(name).eval()
    expected = torch.autograd.grad(
        torch.nn.functional.cross_entropy(twin(batch(name)), labels), list(twin.parameters())
    )
    flat = FlatModule(module)
    torch.nn.functional.cross_entropy(module(batch(name)), labels).backward()
    together = torch.cat([gradient.ravel() for gradient in expected])
    assert together.abs().max() > 0
    # Channels last, sums run in another order.
    assert (gradient_of(flat) - together).norm() < 1e-4 * together.norm()


@EVERY
def test_only_batch_normalisation_keeps_buffers(name):
    layout = layout_of(build(name))
    # ResNet-18: 20 normalisations over 4800 channels in all, each with a mean and a variance.
    assert layout.size - layout.weights == (9600 if name == "resnet18" else 0)


def test_batch_statistics_are_in_the_buffer_part_and_follow_the_data():
    flat = FlatModule(build("resnet18"))
    before = flat.memory.clone()
    flat.module.train()(batch("resnet18"))
    d = flat.layout.weights
    assert torch.equal(flat.memory[:d], before[:d])
    assert not torch.equal(flat.memory[d:], before[d:])
    statistics = flat.memory.clone()
    flat.module.eval()(batch("resnet18"))
    assert torch.equal(flat.memory, statistics)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("softmax", shape) for shape in ((2,), DIGITS, CIFAR10)),
        *(("mlp", shape) for shape in ((2,), DIGITS, CIFAR10)),
        *(("lenet5", shape) for shape in ((3, 28, 28), (1, 32, 32), CIFAR10)),
        *(("romoa_mnist", shape) for shape in ((1, 9, 9), CIFAR10, (1, 9, 12))),
        *(("romoa_cifar10", shape) for shape in (DIGITS, MNIST, (3, 8, 17))),
        *(("drfl_mnist", shape) for shape in (CIFAR10, (1, 29, 28), (1, 33, 40))),
        *(("resnet18", shape) for shape in (DIGITS, MNIST, (3, 9, 20))),
    ],
)
def test_fits_other_shapes(name, shape):
    assert build(name, shape)(torch.rand(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "shape", "needs"),
    [
        ("lenet5", DIGITS, "(channels, 28, 28) or (channels, 32, 32)"),
        ("lenet5", (1, 28, 32), "(channels, 28, 28) or (channels, 32, 32)"),
        ("lenet5", (28, 28), "(channels, 28, 28) or (channels, 32, 32)"),
        ("romoa_mnist", DIGITS, "(channels, at least 9, at least 9)"),
        ("romoa_cifar10", (3, 32, 7), "(channels, at least 8, at least 8)"),
        ("drfl_synthetic", (3,), "(2,)"),
        ("drfl_synthetic", DIGITS, "(2,)"),
        ("drfl_mnist", DIGITS, "(channels, at least 28, at least 28)"),
        ("drfl_mnist", (1, 28, 27), "(channels, at least 28, at least 28)"),
        ("resnet18", (2,), "(channels, at least 8, at least 8)"),
        ("resnet18", (3, 7, 8), "(channels, at least 8, at least 8)"),
    ],
)
def test_refuses_a_shape_that_does_not_fit(name, shape, needs):
    with pytest.raises(Mistake) as refusal:
        build(name, shape)
    assert str(refusal.value) == f"model {name} needs inputs of shape {needs}, but the data's are {shape}"


def test_lenet5_pads_mnist_to_the_size_of_the_larger_images():
    small, large = build("lenet5"), build("lenet5", (1, 32, 32))
    padded = torch.nn.functional.pad(batch("lenet5"), (2, 2, 2, 2))
    torch.testing.assert_close(small(batch("lenet5")), large(padded))


@pytest.mark.parametrize("entry", [DrflSynthetic, DrflMnist])
def test_drfl_starts_glorot_uniform_with_zero_biases(entry):
    shape, classes, _ = HOME["drfl_synthetic" if entry is DrflSynthetic else "drfl_mnist"]
    layers = [layer for layer in entry().build(shape, classes) if hasattr(layer, "weight")]
    for layer in layers:
        receptive = layer.weight[0, 0].numel()
        bound = (6 / (receptive * (layer.weight.shape[0] + layer.weight.shape[1]))) ** 0.5
        assert layer.weight.abs().max() <= bound
        assert layer.weight.numel() < 100 or layer.weight.abs().max() > 0.95 * bound
        assert (layer.bias == 0).all()


def test_drfl_activations_are_elu():
    kinds = [type(layer).__name__ for layer in DrflSynthetic().build((2,), 2)]
    assert kinds == ["Linear", "ELU", "Linear", "ELU", "Linear"]
    kinds = [type(layer).__name__ for layer in DrflMnist().build(MNIST, 10)]
    assert kinds == ["Conv2d", "ELU", "Conv2d", "ELU", "Conv2d", "ELU", "Flatten", "Linear"]


@pytest.mark.parametrize(("activation", "kind"), [("relu", "ReLU"), ("elu", "ELU"), ("tanh", "Tanh")])
def test_mlp_is_what_its_settings_say(activation, kind):
    layers = list(Mlp(hidden=(5, 3), activation=activation).build((4,), 2))
    assert [type(layer).__name__ for layer in layers] == ["Flatten", "Linear", kind, "Linear", kind, "Linear"]
    assert [tuple(layer.weight.shape) for layer in layers[1::2]] == [(5, 4), (3, 5), (2, 3)]


def test_mlp_without_hidden_layers_is_softmax_regression():
    assert str(Mlp(hidden=()).build((4,), 2)) == str(Softmax().build((4,), 2))


def test_mlp_refuses_an_empty_layer():
    with pytest.raises(Mistake) as refusal:
        Mlp(hidden=(8, 0))
    assert str(refusal.value) == "Mlp.hidden: (8, 0) is out of range; each width must be at least 1"


def test_lenet5_by_layer():
    module = Lenet5().build(MNIST, 10)
    assert per_layer(module) == [156, 2416, 48120, 10164, 850]
    assert [type(layer).__name__ for layer in module] == [
        *("Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Flatten"),
        *("Linear", "ReLU", "Linear", "ReLU", "Linear"),
    ]


def test_resnet18_keeps_small_images_whole_until_its_second_stage():
    module, shapes = build("resnet18"), []
    for stage in (module.layer1, module.layer2, module.layer3, module.layer4):
        stage.register_forward_hook(lambda stage, inputs, output: shapes.append(tuple(output.shape[1:])))
    module(batch("resnet18"))
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    # He's normal initialisation by fan-out, as in the other convolutions: std = sqrt(2 / (64 * 9)) = 0.0589.
    assert module.conv1.weight.std().item() == pytest.approx(0.0589, rel=0.1)
