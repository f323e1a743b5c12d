"""The flat codec: the same numbers out as in, readable by others, and nothing but Malformed for what is not npy."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedsim.transport import HEADER_BYTES, Codec, Malformed, decode, encode

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


# Round trips.

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


# What a model's record may not be.

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


# What is no npy of numbers.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"garbage" * 100,
        with_header(says(), b"1234567"),
        with_header(says(), b"123456789"),
        with_header(says("'|O'"), b"12345678"),
        with_header(says("[('x', '<f4')]"), b"12345678"),
        with_header(says("('<f4', (2,))", "()"), b"12345678"),
        with_header(says("'<c8'", "(1,)"), b"12345678"),
        with_header(says("'<U1'"), b"12345678"),
        with_header(says("'<M8[s]'", "(1,)"), b"12345678"),
        with_header(says("'|V4'"), b"12345678"),
        with_header(says("'nonsense'"), b"12345678"),
        with_header(says("()"), b"12345678"),
        with_header(says("('', -1)"), b"12345678"),
        with_header(says(shape="(-1, -2)"), b"12345678"),
        with_header(says(shape="(-2, -1)"), b"12345678"),
        with_header(says(shape=f"(0, {2**70})")),
        with_header(says(shape=f"({'1, ' * 80} 2)"), b"12345678"),
        with_header(says(shape=f"({10**10},)"), b"12345678"),
        with_header(says(shape=f"({10**300},)"), b"12345678"),
        with_header(says(shape=f"({10**10},)"), b"12345678", version=2),
        with_header(says(shape="(2.0,)"), b"12345678"),
        with_header(says(shape="[2]"), b"12345678"),
        with_header("{1: 2, 'a': 3}"),
        with_header("{{}: 2}"),
        with_header("'a' 'b"),
        with_header("(" * 3000),
        with_header("-" * 3000 + "1"),
        with_header("{'a': \n\t \n  '''"),
        with_header(says() + " " * HEADER_BYTES, b"12345678"),
        with_header(says(), b"12345678", version=4),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + says().encode(),
    ],
    ids=lambda data: ascii(data[10:60])[2:-1],
)
def test_no_npy_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode(raw(data))


def test_what_is_no_array_of_numpys_is_malformed() -> None:
    with pytest.raises(Malformed, match=r"array is stored as 'torch', not as numpy\.ndarray"):
        decode(raw(saved(np.zeros(2)), stype="torch"))


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    array = np.array([Evil(trap)], dtype=object)
    for data in (saved(array), pickle.dumps(array), with_header(says("'|O'", "(1,)"), pickle.dumps(array))):
        with pytest.raises(Malformed):
            decode(raw(data))
        assert not trap.exists()
    pickle.loads(pickle.dumps(array))
    assert trap.exists(), "the trap works"


@pytest.mark.parametrize("version", [1, 2])
def test_a_header_that_claims_ten_gigabytes_allocates_nothing(version: int) -> None:
    data = with_header(says(shape=f"({10 * 2**28},)"), b"12345678", version)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="array has 8 bytes, not the 10737418240 of its header"):
            decode(raw(data))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_hundred_megabytes_of_noise_are_not_looked_at() -> None:
    noise = raw(bytes(100 * 2**20))
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="array of 104857600 bytes is too large for 10 numbers"):
            decode(noise, 10)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid npy with a few bytes changed, put in or taken out, most of them in its header."""
    array = np.zeros(draw(SHAPES), dtype=draw(st.sampled_from(["<f4", "<f8", "<i8", "|b1"])))
    data = bytearray(saved(array, draw(st.sampled_from([(1, 0), (2, 0)]))))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(len(data), 90)))
        piece = draw(st.binary(max_size=4) | st.sampled_from([b"L", b"-1", b"0", b"(", b"'", b"{", b"\\", b"\x00"]))
        data[place : place + draw(st.integers(0, 4))] = piece
    return bytes(data)


HEADERS = st.builds(
    with_header,
    st.text(st.sampled_from("{}()[]',:-+.0123456789LefdscrTrueFals<>|ON\\\n\t _*"), max_size=80)
    | st.builds(
        says,
        st.sampled_from(["'<f4'", "'|O'", "'<f4' 'x'", "['<f4']", "[('a', '<f4')]", "'f4,f4'", "None"]),
        st.lists(st.integers(-3, 3), max_size=4).map(lambda sides: str(tuple(sides))),
        st.sampled_from(["True", "False", "0", "None"]),
    ),
    st.binary(max_size=40),
    st.sampled_from([1, 2, 3]),
)


@settings(steady, max_examples=1500)
@given(
    st.binary(max_size=300)
    | st.binary(max_size=100).map(lambda tail: b"\x93NUMPY\x01\x00" + tail)
    | mutated()
    | HEADERS
)
@example(with_header(says(shape="(-1, -2)"), b"12345678"))
def test_only_malformed_escapes(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of headers that Python 2 wrote, and of Python's own parser.
        try:
            found = decode(raw(data))
        except Malformed:
            return
    assert found.dtype.kind in "fiub"
    assert found.nbytes <= len(data)
