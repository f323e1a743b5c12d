"""When loops are compiled, where they are kept, and what they are handed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fedsim import compiled

_AGAIN = """
import numpy, torch
from fedsim import compiled
from fedsim.geometry import gram, rough_gram, squared_distances, squared_distances_to, weighted_sum
from fedsim.largest import moments_and_largest
from fedsim.likeness import likeness
from fedsim.middles import trimmed_mean
from fedsim.compiled import alignment, columns, distances, largest, products, sums
compiled._WORTH = 1
rows = torch.randn(12, 300)
rows[1] = rows[0]
gram(rows), rough_gram(rows), squared_distances(rows), squared_distances_to(rows, rows[0])
weighted_sum(rows, torch.ones(12)), trimmed_mean(rows, 2)
edges = numpy.array([0, 100, 300])
own, marked = moments_and_largest(rows, rows[0], 30, edges)
likeness(rows, own, rows[0], marked, edges)
summing = [products._gram, distances._pair_distances, distances._point_distances, sums._weighted_sum]
watching = [largest._look, largest.mark, alignment._products]
print(sum(sum(loop.stats.cache_misses.values()) for loop in [*summing, *watching, columns._window_means]))
"""


def test_loops_are_compiled_once_for_all_processes(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    missed = []
    for _ in range(2):
        finished = subprocess.run(
            [sys.executable, "-c", _AGAIN],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        missed.append(int(finished.stdout))
    assert missed[0] > 0
    assert missed[1] == 0


def test_without_a_place_to_keep_them_loops_are_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    from fedsim.compiled import compiler

    def nowhere(cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(compiler, "numba", SimpleNamespace(njit=nowhere))
    twice = compiler.compiled(lambda x: 2 * x)
    assert twice(21) == 42
    assert twice.signatures  # type: ignore[attr-defined]


def test_importing_the_rules_imports_no_compiler() -> None:
    program = "import sys, strategies, fedsim.middles, strategies.bulyan, torch; assert 'numba' not in sys.modules"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_rows_are_handed_over_as_they_lie() -> None:
    wide = torch.arange(24.0).reshape(4, 6)
    for rows in (wide, wide[:, 2:5], wide[1:3], wide[:, 1:6:2], wide[0].expand(3, 6)):
        laid = compiled.laid_out(rows)
        for row, start in zip(rows, laid.starts, strict=True):
            assert laid.flat[start : start + rows.shape[1]].tolist() == row.tolist()
    assert compiled.laid_out(wide[1:, 2:5]).flat.ctypes.data == wide[1, 2].data_ptr(), "no copy"
    assert compiled.laid_out(wide).only([2, 0]).starts.tolist() == [12, 0]


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three for torch, whatever others set it to meanwhile, and ten entries are worth one."""
    monkeypatch.setattr(compiled, "_WORTH", 10)
    monkeypatch.setattr(compiled.torch, "get_num_threads", lambda: 3, raising=False)


@pytest.mark.usefixtures("three_threads")
def test_parts_cover_the_columns_in_order_and_run_side_by_side() -> None:
    together = threading.Barrier(3)

    def part(first: int, last: int) -> tuple[int, int]:
        together.wait(timeout=60)
        return first, last

    assert compiled.in_parts(torch.zeros(4, 10), part) == [(0, 3), (3, 6), (6, 10)]
    # No more than have something to do.
    assert compiled.in_parts(torch.zeros(1, 19), lambda first, last: (first, last)) == [(0, 19)]


@pytest.mark.usefixtures("three_threads")
def test_what_fails_in_a_part_is_heard() -> None:
    def fail(first: int, last: int) -> None:
        raise ValueError(first)

    with pytest.raises(ValueError, match="0"):
        compiled.in_parts(torch.zeros(4, 10), fail)
