"""Timing in turn: A B A B, so that what the machine does meanwhile falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def in_turn(contestants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of CPU time of each contestant in each repeat, after one untimed call of each."""
    for call in contestants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, call in contestants.items():
            before = time.process_time()
            call()
            seconds[name].append(time.process_time() - before)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest of slow / fast, pair by pair."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return median(ratios), min(ratios), max(ratios)
