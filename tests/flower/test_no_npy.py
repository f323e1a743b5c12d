"""Bytes that are no npy of numbers: nothing but Malformed, nothing run, nothing allocated."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedsim.transport import HEADER_BYTES, Malformed, decode
from tests.flower.npy_bytes import SHAPES, raw, saved, says, steady, with_header


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
