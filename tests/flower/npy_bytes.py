"""Arrays as bytes, as numpy saves them and as anybody may write them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from flwr.app import Array
from hypothesis import settings
from hypothesis.extra import numpy as npst

steady = settings(deadline=None, derandomize=True, max_examples=100)
FLOATS = [np.dtype(name) for name in ("float16", "float32", "float64")]
SHAPES = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def raw(data: bytes, stype: str = "numpy.ndarray") -> Array:
    """Bytes as a client may send them, under metadata that say something else."""
    return Array("float32", (1,), stype, data)


def saved(array: np.ndarray, version: tuple[int, int] | None = None, **options: Any) -> bytes:
    """The bytes that numpy itself writes."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version, **options)
    return buffer.getvalue()


def with_header(header: str, body: bytes = b"", version: int = 1) -> bytes:
    """An npy whose header says what it likes."""
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode("latin1") + body


def says(descr: str = "'<f4'", shape: str = "(2,)", order: str = "False") -> str:
    """A header in numpy's own form."""
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"
