"""Trainings for Romoa to see: periods of a few lookahead uploads and a sync, some clients hostile, some away."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim.domain import Aggregate, Layout, Memory, Updates
from strategies.romoa import Romoa

Array = NDArray[np.float64]

SIZES = (9, 1, 3, 2, 15)
"""Entries of the tensors; the second and the fourth are too short for a correlation."""

KINDS = ("honest", "one opposite", "colluders", "still", "one huge", "shifted", "constant", "not finite", "none finite")


def layout_of(*sizes: int) -> Layout:
    return Layout(tuple(f"tensor{i}" for i in range(len(sizes))), tuple((size,) for size in sizes), sum(sizes))


@dataclass(frozen=True)
class Upload:
    """One upload of all who are present: (n, d) rows, (d,) weights last synced, and the clients' ids."""

    rows: Array
    params: Array
    clients: Sequence[int]

    def updates(self, dtype: torch.dtype = torch.float64) -> Updates:
        return Updates(
            torch.from_numpy(self.rows).to(dtype),
            torch.ones(len(self.clients)),
            torch.tensor(self.clients),
            params=torch.from_numpy(self.params).to(dtype),
        )


Period = list[Upload]
"""Lookahead uploads, and the sync's last."""


def training(seed: int, n: int | None = None, kinds: Sequence[str] = KINDS, steady: bool = False) -> Iterator[Period]:
    """Three periods of n clients, 3 to 12, not all of them chosen, and now and then the upload of one is lost.

    With ``steady`` all are there each time, and the largest weights stay the largest.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 13)) if n is None else n
    d, direction = sum(SIZES), rng.normal(size=sum(SIZES))
    largest = 50.0 * (rng.permutation(d) < d // 3)
    for _ in range(3):
        params = rng.normal(size=d) * (1e-3 if steady else rng.choice([0.0, 1.0, 3.0])) + (largest if steady else 0)
        present = range(n) if steady else sorted(rng.choice(n, rng.integers(3, n + 1), replace=False).tolist())
        period = []
        for _ in range(int(rng.integers(1, 5))):
            rows = direction + 0.7 * rng.normal(size=(n, d))
            turn_hostile(rows, str(rng.choice(kinds)), rng)
            lost = None if steady or len(present) < 4 or rng.random() < 0.7 else rng.choice(present)
            clients = [client for client in present if client != lost]
            period.append(as_float32(Upload(rows[clients], params, clients)))
        yield period


def turn_hostile(rows: Array, kind: str, rng: np.random.Generator) -> None:
    """Make some of the (n, d) rows what a client of that kind sends; less than half of them, but with "none finite"."""
    few = max(1, (len(rows) - 1) // 2)
    if kind == "one opposite":
        rows[0] *= -3
    elif kind == "colluders":
        rows[:few] = -2.3 * rows[few:].mean(axis=0)
    elif kind == "still":
        rows[:few], rows[few, :9] = 0, 0
    elif kind == "one huge":
        rows[0] *= 1e6
    elif kind == "shifted":
        rows[:, 15:] += 30
    elif kind == "constant":
        rows[:few, 10:13] = 0.1
    elif kind == "not finite":
        rows[0, 3], rows[few, 20] = np.nan, -np.inf
    elif kind == "none finite":
        rows[:, 0] = np.nan


def as_float32(upload: Upload) -> Upload:
    """The same, in numbers that float32 holds exactly."""
    rows, params = (array.astype(np.float32).astype(np.float64) for array in (upload.rows, upload.params))
    return replace(upload, rows=rows, params=params)


def play(rule: Romoa, period: Period, memory: Memory, dtype: torch.dtype = torch.float64) -> Aggregate:
    """A period of the fast rule."""
    for upload in period[:-1]:
        memory = rule.observe(upload.updates(dtype), memory)
    return rule(period[-1].updates(dtype), memory)


def slices_of(sizes: Sequence[int] = SIZES) -> list[slice]:
    edges = itertools.accumulate(sizes, initial=0)
    return [slice(*pair) for pair in itertools.pairwise(edges)]


LAYOUT = layout_of(10, 20)

Turn = Callable[[Array, Array], None]
"""Changes (n, d) honest rows, made around a (d,) direction, into what some send."""


def opposite(rows: Array, direction: Array) -> None:
    rows[0] = -3 * direction


def four_opposite(rows: Array, direction: Array) -> None:
    rows[:4] = -3 * direction


def upload(rng: np.random.Generator, direction: Array, turn: Turn | None = None) -> Upload:
    """Of ten clients."""
    rows = direction + 0.5 * rng.normal(size=(10, len(direction)))
    if turn is not None:
        turn(rows, direction)
    return Upload(rows, rng.normal(size=len(direction)), range(10))


def factors(memory: Memory, clients: Sequence[int] = range(10)) -> Array:
    """(n, cells): the factors of these clients, when all of them and nobody else are there."""
    found = standings(memory, clients)
    return found / found.sum(axis=0)


def standings(memory: Memory, clients: Sequence[int] = range(10)) -> Array:
    """(n, cells): by how many times its equal part each of these clients weighs."""
    places = [memory["clients"].tolist().index(client) for client in clients]
    return memory["standings"].numpy()[places]
