"""Models: networks built for the shape of the data.

``build`` draws initial weights from torch's global generator, which the caller seeds
(``fedsim.seeds.torch_stream``).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal, Protocol

from fedsim.domain import Mistake, PositiveCount
from fedsim.lazy import torch
from fedsim.tables import Settings, Table

if TYPE_CHECKING:
    from torch import nn

MODELS = Table(
    "model",
    {
        "softmax": "fedsim.models:Softmax",
        "mlp": "fedsim.models:Mlp",
        "lenet5": "fedsim.models:Lenet5",
        "romoa_mnist": "fedsim.models:RomoaMnist",
        "romoa_cifar10": "fedsim.models:RomoaCifar10",
        "drfl_synthetic": "fedsim.models:DrflSynthetic",
        "drfl_mnist": "fedsim.models:DrflMnist",
        "resnet18": "fedsim.models:Resnet18",
    },
)


class Model(Protocol):
    """A model of the table: its settings are the fields of a frozen dataclass."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A network from inputs (b, *shape) to logits (b, c); refuses a shape that it does not fit."""
        ...


@dataclass(frozen=True)
class Softmax(Settings):
    """Softmax regression: one linear layer on the flattened input."""

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network for inputs of any shape."""
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(prod(shape), classes))


@dataclass(frozen=True)
class Mlp(Settings):
    """Fully connected layers on the flattened input.

    Fields:
        hidden: width of each hidden layer.
        activation: after each hidden layer.
    """

    hidden: tuple[PositiveCount, ...] = (64,)
    activation: Literal["relu", "elu", "tanh"] = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(width < 1 for width in self.hidden):
            raise Mistake(f"Mlp.hidden: {self.hidden} is out of range; each width must be at least 1")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network for inputs of any shape."""
        nn = torch.nn
        activation = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}[self.activation]
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape)
        for hidden in self.hidden:
            layers += [nn.Linear(width, hidden), activation()]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, classes))


@dataclass(frozen=True)
class Lenet5(Settings):
    """LeNet-5: two convolutions and three linear layers; 61,706 parameters on MNIST.

    Images of 28 x 28 are padded to 32 x 32. Any number of channels.

    Source: LeCun et al., Proc. IEEE 1998, Sec. II-B.
    Differs from: the paper (tanh, trained average pooling, radial-basis outputs, a sparse second
        convolution); here are ReLU, maximum pooling and a linear output, as in today's use of the name.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network; refuses all but images of 28 x 28 and 32 x 32."""
        if len(shape) != 3 or shape[1:] not in ((28, 28), (32, 32)):
            raise _misfit("lenet5", "(channels, 28, 28) or (channels, 32, 32)", shape)
        nn = torch.nn
        return nn.Sequential(
            *(nn.Conv2d(shape[0], 6, 5, padding=(32 - shape[1]) // 2), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)),
        )


@dataclass(frozen=True)
class RomoaMnist(Settings):
    """The Romoa paper's MNIST net: two 5 x 5 convolutions and two linear layers; 3,382,346 parameters.

    Dropout of 0.25 and 0.5 in training mode. Any number of channels; sides of at least 9.

    Source: the Romoa paper, Fig. 9.
    Differs from: the paper, whose last layer holds the softmax; ours is in the loss.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network; refuses images smaller than its two convolutions."""
        _require_image("romoa_mnist", 9, shape)
        nn = torch.nn
        flat = 64 * (shape[1] - 8) * (shape[2] - 8)
        return nn.Sequential(
            *(nn.Conv2d(shape[0], 64, 5), nn.ReLU(), nn.Conv2d(64, 64, 5), nn.ReLU()),
            *(nn.Dropout(0.25), nn.Flatten(), nn.Linear(flat, 128), nn.ReLU()),
            *(nn.Dropout(0.5), nn.Linear(128, classes)),
        )


@dataclass(frozen=True)
class RomoaCifar10(Settings):
    """The Romoa paper's CIFAR-10 net: eight 3 x 3 convolutions and two linear layers; 6,088,650 parameters.

    Convolutions keep the image's size. Dropout of 0.5 in training mode. Any number of channels; sides of at
    least 8.

    Source: the Romoa paper, Fig. 10.
    Differs from: the paper, whose last layer holds the softmax; ours is in the loss.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network; refuses images smaller than its three poolings."""
        _require_image("romoa_cifar10", 8, shape)
        nn = torch.nn
        layers: list[nn.Module] = []
        channels = shape[0]
        for block in ((64, 64), (128, 128, 128), (256, 256, 256)):
            for filters in block:
                layers += [nn.Conv2d(channels, filters, 3, padding="same"), nn.ReLU()]
                channels = filters
            layers.append(nn.MaxPool2d(2))
        flat = 256 * (shape[1] // 8) * (shape[2] // 8)
        head = (nn.Linear(flat, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, classes))
        return nn.Sequential(*layers, nn.Flatten(), *head)


@dataclass(frozen=True)
class DrflSynthetic(Settings):
    """The DRFL paper's net for points of the plane: 2-4-2-2 with ELU, 28 parameters for two classes.

    Weights start Glorot uniform, biases zero.

    Source: Shen et al., "Learning to Attack Distributionally Robust Federated Learning", Sec. 4; the initial
        weights are Keras's, in which Sinha et al., ICLR 2018, wrote theirs.
    Differs from: the paper, which says ELU "for all layers"; here the output is linear, since it enters a
        softmax.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network; refuses all but points of the plane."""
        if shape != (2,):
            raise _misfit("drfl_synthetic", "(2,)", shape)
        nn = torch.nn
        return _glorot(nn.Sequential(nn.Linear(2, 4), nn.ELU(), nn.Linear(4, 2), nn.ELU(), nn.Linear(2, classes)))


@dataclass(frozen=True)
class DrflMnist(Settings):
    """The DRFL paper's MNIST net: 8 x 8, 6 x 6 and 5 x 5 convolutions with ELU; 710,218 parameters.

    64 filters 8 x 8 of stride 2 on an image padded by 3, 128 filters 6 x 6 of stride 2, 128 filters 5 x 5,
    one linear layer. Weights start Glorot uniform, biases zero. Any number of channels; sides of at least
    28.

    Source: Shen et al., "Learning to Attack Distributionally Robust Federated Learning", Sec. 4; counts,
        strides and padding, on which that paper is silent, from Sinha et al., ICLR 2018.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network; refuses images smaller than its convolutions."""
        _require_image("drfl_mnist", 28, shape)
        nn = torch.nn
        rows, columns = (((side // 2 - 6) // 2 + 1) - 4 for side in shape[1:])
        return _glorot(
            nn.Sequential(
                *(nn.Conv2d(shape[0], 64, 8, stride=2, padding=3), nn.ELU()),
                *(nn.Conv2d(64, 128, 6, stride=2), nn.ELU()),
                *(nn.Conv2d(128, 128, 5), nn.ELU()),
                *(nn.Flatten(), nn.Linear(128 * rows * columns, classes)),
            )
        )


@dataclass(frozen=True)
class Resnet18(Settings):
    """ResNet-18 for small images, with batch normalisation; 11,173,962 parameters on CIFAR-10.

    torchvision's, with its first layer 3 x 3 of stride 1 and no pooling behind it. Running means and
    variances are buffers. Any number of channels; sides of at least 8.

    Source: He et al., CVPR 2016; the first layer as in that paper's Sec. 4.2.
    """

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network; refuses images smaller than its three halvings."""
        _require_image("resnet18", 8, shape)
        from torchvision.models import resnet18

        network: nn.Module = resnet18(weights=None, num_classes=classes)
        network.conv1 = torch.nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        torch.nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = torch.nn.Identity()
        return network


def _glorot(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.xavier_uniform_(parameter)
        else:
            torch.nn.init.zeros_(parameter)
    return network


def _require_image(name: str, side: int, shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or min(shape[1:]) < side:
        raise _misfit(name, f"(channels, at least {side}, at least {side})", shape)


def _misfit(name: str, needed: str, got: tuple[int, ...]) -> Mistake:
    return Mistake(f"model {name} needs inputs of shape {needed}, but the data's are {got}")
