"""Geometry on flat vectors: distances that do not cancel, columns in sorted order, a module bound to one vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedsim.domain import Layout
from fedsim.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_CHUNK = 1 << 19
"""Entries worked on at a time, so that a pass over (n, d) needs little memory beside it."""


def column_chunks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of columns, in order, each of at most a fixed number of entries of a (rows, columns) matrix."""
    width = max(1, _CHUNK // max(rows, 1))
    for start in range(0, columns, width):
        yield slice(start, min(start + width, columns))


def squared_distances(rows: Tensor) -> Tensor:
    """(n, n) float64 squared distances between the rows of (n, d), zero on the diagonal.

    Through a Gram matrix accumulated in float64: products of float32 numbers are exact there, so neither a large
    common offset nor one huge row spoils the others. O(n^2 d) time, a chunk of columns beside the input.
    """
    products = gram(rows)
    norms = products.diagonal()
    distances = (norms[:, None] + norms[None, :] - products - products.T).clamp_(min=0)
    return distances.fill_diagonal_(0)


def gram(rows: Tensor) -> Tensor:
    """(n, n) float64 inner products of the rows of (n, d).

    Products of float32 numbers are exact in float64. O(n^2 d) time, a chunk of columns beside the input.
    """
    n, d = rows.shape
    products = torch.zeros(n, n, dtype=torch.float64, device=rows.device)
    for chunk in column_chunks(n, d):
        wide = rows[:, chunk].double()
        products.addmm_(wide, wide.T)
    return products


def sorted_columns(rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Each chunk of columns of (n, d) with its values ascending over clients, as (slice, (width, n))."""
    n, d = rows.shape
    for chunk in column_chunks(n, d):
        turned = rows[:, chunk].T.clone(memory_format=torch.contiguous_format)
        if turned.is_cuda:
            yield chunk, turned.sort(dim=1).values
        else:
            # numpy sorts short contiguous rows with SIMD, many times faster than torch.sort; in place, in our own copy.
            turned.numpy().sort(axis=1)
            yield chunk, turned


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
    """A module whose parameters, gradients and buffers are views into flat vectors.

    Writing ``vector`` changes the module; ``gradient`` is where ``backward`` leaves its sum.

    Fields:
        module: the network.
        vector: (size,) parameters, then buffers.
        gradient: (d,) of the parameters.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.layout = layout_of(module)
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        flat = [tensors[name].detach().reshape(-1) for name in self.layout.names]
        self.vector: Tensor = torch.cat(flat) if flat else torch.zeros(0)
        self.gradient: Tensor = torch.zeros_like(self.vector[: self.layout.weights])
        for name, shape, where in zip(self.layout.names, self.layout.shapes, self.layout.slices, strict=True):
            tensors[name].data = self.vector[where].view(shape)
            if where.stop <= self.layout.weights:
                tensors[name].grad = self.gradient[where].view(shape)

    @property
    def weights(self) -> Tensor:
        """(d,) the trained part of ``vector``."""
        return self.vector[: self.layout.weights]
