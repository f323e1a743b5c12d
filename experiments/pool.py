"""Cells played by a pool of processes, and how long it will take."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import TypeVar

from fedsim.lazy import torch

Cell = TypeVar("Cell")
Found = TypeVar("Found")

SILENCE = 30.0
"""Seconds between lines of progress where these cannot be written over."""


def play_all(
    play: Callable[[Cell], Found], missing: Sequence[Cell], workers: int, add: Callable[[Cell, Found], object]
) -> None:
    """Play cells in as many processes, and add what comes of them as it comes; none to play is fine."""
    if not missing:
        return
    # Not forked: torch's threads do not live on in a forked process.
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(missing)), mp_context=spawning, initializer=_alone)
    began = told = time.monotonic()
    try:
        futures: dict[Future[Found], Cell] = {pool.submit(play, cell): cell for cell in missing}
        for count, future in enumerate(as_completed(futures), 1):
            add(futures[future], future.result())
            now = time.monotonic()
            if sys.stdout.isatty() or now - told > SILENCE or count == len(missing):
                told = now
                _tell(count, len(missing), now - began)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone() -> None:
    """One thread, and Ctrl-C is the parent's affair."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tell(count: int, total: int, seconds: float) -> None:
    left = seconds / count * (total - count)
    line = f"{count} of {total} cells, {count / seconds:.2f} a second, {left / 60:.1f} minutes left"
    end = "\r" if sys.stdout.isatty() and count < total else "\n"
    print(f"{line:<70}", end=end, flush=True)
