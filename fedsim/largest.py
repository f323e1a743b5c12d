"""Which entries are among the largest of any of several vectors: of rows on a base, whose moments come with them."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fedsim import compiled
from fedsim.lazy import torch
from fedsim.likeness import Moments, moments

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fedsim.compiled import Floats, Places
    from fedsim.compiled.largest import Look

_SOUGHT = 32
"""How many of the entries sought a sample of a vector should hold, to guess from it how large they are."""
_MARGIN = 1.75
"""How many times as many entries as are sought the guess is meant to let through; there is room for twice that."""


def moments_and_largest(rows: Tensor, base: Tensor, count: int, edges: Places) -> tuple[Moments, Tensor]:
    """The moments of rows (n, d), and which entries are, in any base + row_i, among the ``count`` of largest size.

    Of equal sizes those come first that stand first. Rows that are not finite select nothing.

    Returns (d,) bool for the second.
    Cost: O(n d) time in one pass, and memory as three to six rows take where ``count`` is at most d / n; else, as it
    grows, up to some ten.
    """
    marked = torch.zeros(rows.shape[1], dtype=torch.bool, device=rows.device)
    base = base.detach().to(rows)
    if compiled.suits(rows):
        origin = base.contiguous().numpy()
        # Where all are among the largest, it is enough to find one.
        sums = _pass(rows, origin, count if count < rows.shape[1] else 1, edges, marked.numpy())
        if count >= rows.shape[1]:
            marked.fill_(bool(marked.any()))
        return Moments(np.diff(edges).astype(np.float64), *sums), marked
    found = moments(rows, edges)
    for i in np.isfinite(found.lengths).nonzero()[0]:
        marked |= _largest((base + rows[i]).abs(), count)
    return found, marked


def _largest(values: Tensor, count: int) -> Tensor:
    """(d,) bool: the ``count`` largest of (d,) values, of equal ones the first."""
    least = values.kthvalue(len(values) - count + 1).values
    found = values > least
    equal = (values == least).nonzero().flatten()
    found[equal[: count - int(found.sum())]] = True
    return found


def _pass(rows: Tensor, base: Floats, count: int, edges: Places, marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(2, n, L) sums of rows that suit compiled loops, and of their squares; marks their largest entries."""
    from fedsim.compiled import largest

    n, d = rows.shape
    totals, laid, room = np.zeros((2, n, len(edges) - 1)), compiled.laid_out(rows), math.ceil(2 * _MARGIN * count)
    step = max(1, count // _SOUGHT)
    few = base[::step].copy()
    together = max(1, d // count)
    for start in range(0, n, together):
        batch = range(start, min(start + together, n))
        guessed = [_guessed(few + rows[i, ::step].numpy(), count / d) for i in batch]
        least = np.array(guessed, dtype=np.float32)
        loop = partial(largest.look, laid.only(batch), base=base, least=least, room=room, edges=edges)
        parts = compiled.in_parts(rows, loop)
        totals[:, batch] = np.sum([part.totals for part in parts], axis=0)
        for k, i in enumerate(batch):
            if np.isfinite(totals[1, i]).all():
                values, places = _found(parts, k, count, room) or _everything(rows[i].numpy(), base)
                largest.mark(values, places, _at_rank(values, len(values) - count), count, marked)
    return totals


def _guessed(sample: Floats, share: float) -> np.float32:
    """A size that somewhat more than a share of a vector's entries are expected to have, from a sample of them."""
    rank = min(len(sample), math.ceil(_MARGIN * share * len(sample)))
    return _at_rank(np.abs(sample), len(sample) - rank)


def _found(parts: list[Look], k: int, count: int, room: int) -> tuple[Floats, NDArray[np.int32]] | None:
    """The sizes and places of large entries of the k-th row; None where fewer than a count or more than room."""
    counts = [int(part.counts[k]) for part in parts]
    if sum(counts) < count or max(counts) > room:
        return None
    values = [part.values[k, :size] for part, size in zip(parts, counts, strict=True)]
    places = [part.places[k, :size] for part, size in zip(parts, counts, strict=True)]
    return np.concatenate(values), np.concatenate(places)


def _everything(row: Floats, base: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """The sizes and places of all entries."""
    return np.abs(base + row), np.arange(len(row), dtype=np.int32)


def _at_rank(values: Floats, rank: int) -> np.float32:
    """The value with so many before it in ascending order."""
    value: np.float32 = np.partition(values, rank)[rank]
    return value
