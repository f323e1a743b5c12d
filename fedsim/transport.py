"""Flat vectors as Flower's records and back: valid npy bytes, one copy out, none in, and strict about what comes in."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedsim.domain import Layout
from fedsim.lazy import torch

if TYPE_CHECKING:
    from flwr.app import Array, ArrayRecord
    from torch import Tensor

HEADER_BYTES = 1 << 12
"""The most an npy header may take; a longer claim is refused before anything is read."""


class Malformed(Exception):
    """A record that is not what was asked for; ``shape`` tells whether only a shape is wrong."""

    def __init__(self, message: str, shape: bool = False) -> None:
        super().__init__(message)
        self.shape = shape


def is_statistic(name: str) -> bool:
    """Whether a tensor's name says that it is a BatchNorm statistic, as torch names them."""
    return name.endswith(("running_mean", "running_var"))


@dataclass(frozen=True)
class Codec:
    """How a record of named arrays is one flat vector: floats in the record's order, weights first, then statistics.

    Integer arrays (BatchNorm's counters) are no part of the vector; they travel as the server last had them.

    Fields:
        layout: names, shapes and the number of weights of the flat vector.
        types: each float array's numpy type, by name.
        order: the names of all arrays, as they stand in the record.
        fixed: the integer arrays.
    """

    layout: Layout
    types: Mapping[str, np.dtype[np.generic]]
    order: tuple[str, ...]
    fixed: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, record: ArrayRecord, statistic: Callable[[str], bool] = is_statistic) -> Codec:
        """The codec of a model's record. Raises Malformed if an array in it is not npy."""
        floats = {name: decode(array) for name, array in record.items() if np.dtype(array.dtype).kind == "f"}
        names = sorted(floats, key=statistic)  # Stable: weights first, each kind in the record's order.
        layout = Layout(
            names=tuple(names),
            shapes=tuple(floats[name].shape for name in names),
            weights=sum(floats[name].size for name in names if not statistic(name)),
        )
        return cls(
            layout=layout,
            types={name: floats[name].dtype for name in names},
            order=tuple(record),
            fixed={name: array for name, array in record.items() if name not in floats},
        )

    def encode(self, vector: Tensor) -> ArrayRecord:
        """The record of a flat vector (size,), each array in the type it came in."""
        from flwr.app import ArrayRecord

        flat = vector.detach().cpu().numpy()
        arrays = dict(self.fixed)
        for name, shape, where in zip(self.layout.names, self.layout.shapes, self.layout.slices, strict=True):
            arrays[name] = encode(flat[where].reshape(shape).astype(self.types[name], copy=False))
        return ArrayRecord({name: arrays[name] for name in self.order})

    def decode(self, record: ArrayRecord, out: Tensor | None = None) -> Tensor:
        """The flat float32 vector (size,) of a record, written into ``out`` if given.

        Raises Malformed for a missing or extra array, another type or another shape.
        """
        if set(record) != set(self.order):
            missing, extra = set(self.order) - set(record), set(record) - set(self.order)
            raise Malformed(f"arrays missing: {sorted(missing)}; arrays too many: {sorted(extra)}")
        vector = torch.empty(self.layout.size) if out is None else out
        flat = vector.numpy()
        for name, shape, where in zip(self.layout.names, self.layout.shapes, self.layout.slices, strict=True):
            found = decode(record[name], where.stop - where.start)
            if found.dtype != self.types[name]:
                raise Malformed(f"array {name!r} is {found.dtype}, not {self.types[name]}")
            if found.shape != shape:
                raise Malformed(f"array {name!r} has shape {found.shape}, not {shape}", shape=True)
            flat[where] = found.reshape(-1)
        return vector


def encode(array: np.ndarray) -> Array:
    """An array as Flower's: npy bytes."""
    from flwr.app import Array

    array = np.asarray(array, order="C")
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    data = b"".join((buffer.getvalue(), array.reshape(-1).view(np.uint8).data))
    return Array(str(array.dtype), tuple(array.shape), "numpy.ndarray", data)


def decode(array: Array, entries: int | None = None) -> np.ndarray:
    """The numbers of an array, a read-only view into its bytes; at most ``entries`` of them, if given.

    Raises Malformed for anything but a plain npy of numbers in C order whose length is what its header says. Nothing is
    unpickled, and nothing is allocated on a header's word.
    """
    data = array.data
    if array.stype != "numpy.ndarray" or not isinstance(data, bytes):
        raise Malformed(f"array is stored as {array.stype!r}, not as numpy.ndarray")
    if entries is not None and len(data) > HEADER_BYTES + 8 * entries:
        raise Malformed(f"array of {len(data)} bytes is too large for {entries} numbers", shape=True)
    head = io.BytesIO(data[:HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(head)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, kind = read(head, max_header_size=HEADER_BYTES)
    except Exception as error:  # numpy's parser of headers raises whatever Python's own parser does.
        raise Malformed(f"array is not npy: {error}") from error
    if kind.hasobject or kind.kind not in "fiub":
        raise Malformed(f"array holds {kind}, not numbers")
    size = math.prod(shape)
    if len(data) - head.tell() != size * kind.itemsize:
        raise Malformed(f"array has {len(data) - head.tell()} bytes, not the {size * kind.itemsize} of its header")
    try:
        flat = np.frombuffer(data, dtype=kind, count=size, offset=head.tell())
        return flat.reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError) as error:
        raise Malformed(f"array cannot have shape {shape}: {error}") from error
