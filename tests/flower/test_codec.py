"""The flat codec: the same numbers out as in, readable by others, and only of records that are the model's."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedsim.transport import Codec, Malformed, decode, encode
from tests.flower.npy_bytes import FLOATS, SHAPES, raw, saved, steady

ARRAYS = npst.arrays(
    st.sampled_from(["<f2", "<f4", "<f8", ">f4", "<i8", "|u1", "|b1"]), SHAPES, elements=st.just(0) | st.just(1)
)


@steady
@given(ARRAYS, st.booleans())
def test_what_is_encoded_is_read_by_everyone(array: np.ndarray, turned: bool) -> None:
    array = array.T if turned else array
    coded = encode(array)
    for found in (decode(coded), coded.numpy(), np.load(io.BytesIO(coded.data), allow_pickle=False)):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found, array)
    assert (coded.dtype, coded.shape) == (str(array.dtype), array.shape)


@steady
@given(
    npst.arrays(st.sampled_from(FLOATS), SHAPES),
    st.sampled_from([(1, 0), (2, 0), None]),
    st.booleans(),
)
def test_what_numpy_saves_is_read_as_flower_reads_it(
    array: np.ndarray, version: tuple[int, int] | None, fortran: bool
) -> None:
    array = np.asfortranarray(array) if fortran else array
    coded = raw(saved(array, version))
    found = decode(coded)
    assert np.array_equal(found, coded.numpy(), equal_nan=True)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)


def test_decoding_copies_nothing_and_gives_nothing_to_write_to() -> None:
    coded = encode(np.arange(6, dtype=np.float32).reshape(2, 3))
    found = decode(coded)
    assert not found.flags.writeable
    assert np.shares_memory(found, np.frombuffer(coded.data, dtype=np.uint8))


@st.composite
def records(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """A model's arrays: floats of any kind and integers, in any order, BatchNorm statistics among them."""
    names = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    found: dict[str, np.ndarray] = {}
    for name in names:
        ending = draw(st.sampled_from(["weight", "running_mean", "running_var", "num_batches_tracked"]))
        kind = np.dtype(np.int64) if ending == "num_batches_tracked" else draw(st.sampled_from(FLOATS))
        elements = st.integers(-100, 100).map(float) if kind.kind == "f" else st.integers(-9, 9)
        found[f"{name}.{ending}"] = draw(npst.arrays(kind, draw(SHAPES), elements=elements))
    return found


@steady
@given(records())
def test_a_models_record_survives_the_flat_vector(arrays: dict[str, np.ndarray]) -> None:
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    codec = Codec.of(record)
    vector = codec.decode(record)
    assert (vector.dtype, tuple(vector.shape)) == (torch.float32, (codec.layout.size,))
    back = codec.encode(vector)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].numpy().dtype == array.dtype
        assert np.array_equal(back[name].numpy(), array)
    assert torch.equal(codec.decode(back), vector)


def test_weights_come_first_and_integers_stay_out() -> None:
    record = ArrayRecord(
        {
            "norm.running_var": Array(np.array([4.0, 5.0], dtype=np.float32)),
            "norm.weight": Array(np.array([1.0], dtype=np.float32)),
            "norm.num_batches_tracked": Array(np.array(7)),
            "norm.running_mean": Array(np.array([6.0], dtype=np.float32)),
            "bias": Array(np.array(2.0, dtype=np.float32)),
        }
    )
    codec = Codec.of(record)
    assert codec.layout.names == ("norm.weight", "bias", "norm.running_var", "norm.running_mean")
    assert codec.layout.weights == 2
    assert codec.decode(record).tolist() == [1, 2, 4, 5, 6]
    moved = codec.encode(torch.arange(5.0))
    assert moved["norm.num_batches_tracked"].numpy() == 7
    assert moved["norm.running_var"].numpy().tolist() == [2, 3]
    assert moved["bias"].numpy().shape == ()


def test_a_client_cannot_move_an_integer_array() -> None:
    record = ArrayRecord({"w": Array(np.zeros(2, dtype=np.float32)), "steps": Array(np.array(3))})
    codec = Codec.of(record)
    sent = ArrayRecord({"w": Array(np.ones(2, dtype=np.float32)), "steps": raw(b"anything")})
    assert codec.encode(codec.decode(sent))["steps"].numpy() == 3


MODEL = {"w": np.zeros((2, 3), dtype=np.float32), "b": np.zeros(3, dtype=np.float32)}


@pytest.mark.parametrize(
    ("change", "message", "shape"),
    [
        ({"b": None}, "arrays missing: ['b']; arrays too many: []", False),
        ({"x": np.zeros(1)}, "arrays missing: []; arrays too many: ['x']", False),
        ({"b": None, "B": MODEL["b"]}, "arrays missing: ['b']; arrays too many: ['B']", False),
        ({"w": np.zeros((3, 2), dtype=np.float32)}, "array 'w' has shape (3, 2), not (2, 3)", True),
        ({"w": np.zeros(6, dtype=np.float32)}, "array 'w' has shape (6,), not (2, 3)", True),
        ({"w": np.zeros((2, 3))}, "array 'w' is float64, not float32", False),
        ({"w": np.zeros((2, 3), dtype=">f4")}, "array 'w' is >f4, not float32", False),
        ({"w": np.zeros((2, 3), dtype=np.int32)}, "array 'w' is int32, not float32", False),
        ({"w": np.zeros(9999)}, "array of 80120 bytes is too large for 6 numbers", True),
    ],
)
def test_another_record_is_refused(change: dict[str, np.ndarray | None], message: str, shape: bool) -> None:
    codec = Codec.of(ArrayRecord({name: Array(array) for name, array in MODEL.items()}))
    sent = {name: Array(array) for name, array in (MODEL | change).items() if array is not None}
    with pytest.raises(Malformed) as refused:
        codec.decode(ArrayRecord(sent))
    assert (str(refused.value), refused.value.shape) == (message, shape)
