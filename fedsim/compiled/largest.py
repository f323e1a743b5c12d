"""Which entries of a base plus a row are large, and the row's sums; small ones are passed over by eights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedsim.compiled import Rows
from fedsim.compiled.compiler import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedsim.compiled import Floats, Places

    Doubles = NDArray[np.float64]
    Short = NDArray[np.int32]
    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint64]
    Marks = NDArray[np.bool_]

_RUN = 512
"""Columns of the base that two rows meet while it lies in the nearest cache."""
_TWO = 2
_EIGHT = 8
"""Bytes in a word."""


class Look(NamedTuple):
    """What is seen of n rows over some columns.

    Fields:
        totals: (2, n, L) float64 sums of the entries, and of their squares, in each tensor.
        counts: (n,) of large entries.
        places, values: (n, room and more) of these, in order, as far as there was room.
    """

    totals: Doubles
    counts: Places
    places: Short
    values: Floats


def look(rows: Rows, first: int, last: int, *, base: Floats, least: Floats, room: int, edges: Places) -> Look:
    """The sums of every row and tensor over some columns, and where |base + row_i| is at least ``least`` (n,) of i.

    Fields:
        room: for how many large entries of a row; a count above it says that not all were found.
    """
    n, room = len(rows.starts), min(room, last - first)
    # A run more than room: what is written there says that it is used up.
    shape = n, room + _RUN
    counts, totals = np.zeros(n, np.int64), np.zeros((2, n, len(edges) - 1))
    seen = Look(totals, counts, np.empty(shape, np.int32), np.empty(shape, np.float32))
    _look(*rows, first, last, base, least, edges, totals, counts, seen.places, seen.values)
    return seen


@compiled
def mark(values: Floats, places: Short, least: np.float32, count: int, marked: Marks) -> None:
    """Mark a count of places (m,): those of values (m,) above the least, and then the first of those equal to it."""
    for k in range(len(values)):
        above = values[k] > least
        count -= above
        # Half of them are above, as good as at random: to write in any case is quicker than to guess.
        marked[places[k]] |= above
    for k in range(len(values)):
        if values[k] == least and count > 0:
            marked[places[k]] = True
            count -= 1


def _moments(row: Floats) -> tuple[float, float]:
    total = squares = 0.0
    for k in range(len(row)):
        value = np.float64(row[k])
        total += value
        squares += value * value
    return total, squares


_two_sums = compiled(_moments, reorder=True)


@compiled
def _flag(row: Floats, base: Floats, least: np.float32, flags: Bytes) -> None:
    for k in range(len(row)):
        flags[k] = abs(row[k] + base[k]) >= least
    flags[len(row) :] = 0


@compiled
def _collect(flags: Bytes, words: Words, held: Places, start: int, places: Short, count: int) -> int:
    """Add to the places of a row those of flags, counted from a start; how many there are then, or more than room."""
    if count > len(places) - _RUN:
        return count
    some = 0
    # Each is written, and stays if it is counted: quicker than to decide, and often wrongly guessed, whether to.
    for word in range(len(words)):
        held[some] = word
        some += words[word] != 0
    for k in range(some):
        for flag in range(_EIGHT * held[k], _EIGHT * held[k] + _EIGHT):
            places[count] = start + flag
            count += flags[flag]
    return count


@compiled
def _look(
    flat: Floats,
    starts: Places,
    first: int,
    last: int,
    base: Floats,
    least: Floats,
    edges: Places,
    totals: Doubles,
    counts: Places,
    places: Short,
    values: Floats,
) -> None:
    flags = np.zeros(_RUN, np.uint8)
    words, held = flags.view(np.uint64), np.zeros(_RUN // _EIGHT, np.int64)
    for two in range(0, len(starts), _TWO):
        for tensor in range(len(edges) - 1):
            stop = min(last, edges[tensor + 1])
            for start in range(max(first, edges[tensor]), stop, _RUN):
                end = min(start + _RUN, stop)
                for i in range(two, min(two + _TWO, len(starts))):
                    row = flat[starts[i] + start : starts[i] + end]
                    total, squares = _two_sums(row)
                    totals[0, i, tensor] += total
                    totals[1, i, tensor] += squares
                    _flag(row, base[start:end], least[i], flags)
                    before = counts[i]
                    counts[i] = _collect(flags, words, held, start, places[i], before)
                    for k in range(before, counts[i]):
                        values[i, k] = abs(row[places[i, k] - start] + base[places[i, k]])
