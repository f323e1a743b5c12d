"""Modules as flat vectors: where each of their tensors lies, and a module bound to one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from fedsim.domain import Layout
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray
    from torch import Tensor, nn


def layout_of(module: nn.Module) -> Layout:
    """The layout of a module: its parameters, then its floating-point buffers.

    Integer buffers (BatchNorm's counters) are no part of the vector.
    """
    weights = list(module.named_parameters())
    buffers = [(name, buffer) for name, buffer in module.named_buffers() if buffer.is_floating_point()]
    return Layout(
        names=tuple(name for name, _ in weights + buffers),
        shapes=tuple(tuple(tensor.shape) for _, tensor in weights + buffers),
        weights=sum(parameter.numel() for _, parameter in weights),
    )


class FlatModule:
    """A module whose parameters and buffers are views into one flat vector; scratch space for training.

    The vector is in the module's own order of memory, which is the layout's except within the filters of
    convolutions of some nets: these lie channels last, where that is faster. The methods speak the layout's order.

    Fields:
        module: the network.
        memory: (size,) parameters, then buffers. Writing it changes the module.
        tensors: the parameters.
        normalises: whether the module has BatchNorm.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.layout = layout_of(module)
        self.tensors = list(module.parameters())
        self.normalises = any(isinstance(part, torch.nn.modules.batchnorm._BatchNorm) for part in module.modules())
        values = dict(module.named_parameters()) | dict(module.named_buffers())
        flat = [values[name].detach().reshape(-1) for name in self.layout.names]
        start = torch.cat(flat) if flat else torch.zeros(0)
        self.memory: Tensor = torch.empty_like(start)
        convolutions = {name: part for name, part in module.named_modules() if isinstance(part, torch.nn.Conv2d)}
        last = all(map(_faster_channels_last, convolutions.values()))
        filters = {f"{name}.weight" if name else "weight" for name in convolutions if last}
        parts = list(zip(self.layout.names, self.layout.slices, self.layout.shapes, strict=True))
        self._filters = [(where, shape) for name, where, shape in parts if name in filters]
        self._others = _runs([where for name, where, _ in parts if name not in filters])
        self.load(start)
        for name, where, shape in parts:
            entries = self.memory[where]
            values[name].data = _channels_last(entries, shape) if name in filters else entries.view(shape)

    @property
    def params(self) -> Tensor:
        """(size,) parameters, then buffers; a copy."""
        return self.change_since(torch.zeros_like(self.memory), torch.empty_like(self.memory))

    def load(self, params: Tensor) -> None:
        """Make ``params`` (size,) the module's."""
        for where in self._others:
            self.memory[where] = params[where]
        for where, shape in self._filters:
            _channels_last(self.memory[where], shape).copy_(params[where].view(shape))

    def change_since(self, params: Tensor, out: Tensor) -> Tensor:
        """The module's parameters and buffers minus ``params`` (size,), written into ``out`` (size,)."""
        for where in self._others:
            torch.sub(self.memory[where], params[where], out=out[where])
        for where, shape in self._filters:
            torch.sub(_channels_last(self.memory[where], shape), params[where].view(shape), out=out[where].view(shape))
        return out

    def descent(self, params: Tensor, out: Tensor) -> Tensor:
        """Minus what ``backward`` left since it was last forgotten, and buffers minus those of ``params``, in ``out``.

        Zero where ``backward`` left nothing.
        """
        for tensor, where, shape in zip(self.tensors, self.layout.slices, self.layout.shapes, strict=False):
            if tensor.grad is None:
                out[where] = 0
            else:
                torch.neg(tensor.grad, out=out[where].view(shape))
        d = self.layout.weights
        torch.sub(self.memory[d:], params[d:], out=out[d:])
        return out

    def forget_gradient(self) -> None:
        """Let the next ``backward`` begin anew; a large gradient is made faster than it is zeroed and added to."""
        for tensor in self.tensors:
            tensor.grad = None


def _runs(slices: list[slice]) -> list[slice]:
    """The same entries in as few slices as there are gaps between them."""
    runs: list[slice] = []
    for where in slices:
        if runs and runs[-1].stop == where.start:
            runs[-1] = slice(runs[-1].start, where.stop)
        else:
            runs.append(where)
    return runs


def _faster_channels_last(convolution: nn.Conv2d) -> bool:
    """Whether a CPU is: by 5 to 10 % for LeNet-5 and for 3 x 3 filters; not for wide filters of many channels.

    Those lose 2 to 5 %, and so do nets of both kinds, for going back and forth. Measured on the nets of the table.
    """
    return max(convolution.kernel_size) <= 3 or convolution.out_channels <= 16


def _channels_last(entries: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view of (o i h w,) as (o, i, h, w) whose memory runs over i fastest."""
    o, i, h, w = shape
    return entries.view(o, h, w, i).permute(0, 3, 1, 2)


class Reused:
    """Memory for matrices made anew each round: the same as last time, once nothing else uses that any more."""

    def __init__(self) -> None:
        self._kept: NDArray[float32] = np.empty((0, 0), np.float32)
        self._lent: ref[NDArray[float32]] | None = None

    def empty(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """A matrix (rows, columns) float32 with anything in it."""
        if device.type != "cpu":
            return torch.empty(rows, columns, device=device)  # The allocator there keeps memory itself.
        if self._kept.shape != (rows, columns) or (self._lent is not None and self._lent() is not None):
            self._kept = np.empty((rows, columns), np.float32)
        # The tensor and all views of it hold on to this array, and nobody else does.
        lent = self._kept[:]
        self._lent = ref(lent)
        return torch.from_numpy(lent)
