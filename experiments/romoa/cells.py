"""A cell of the Romoa study, played."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from experiments.romoa.suites import Cell, changes
from fedsim.build import TABLES, check, experiment
from fedsim.config import Config
from fedsim.config.reading import read_text
from fedsim.engine.round import play_round

BASE = Path(__file__).parent / "base.toml"
OTHER_DATA: Mapping[str, Mapping[str, Any]] = {
    "digits": {},
    "mnist": {"data": {"name": "mnist"}, "training": {"batch_size": 64}, "rounds": 60},
    "cifar10": {
        "data": {"name": "cifar10"},
        "model": {"name": "romoa_cifar10"},
        "training": {"batch_size": 64, "learning_rate": 0.05},
        "rounds": 250,
    },
}
"""What other data sets change in the base."""


@dataclass(frozen=True)
class Found:
    """What came of a cell.

    Fields:
        error_rate: 1 - accuracy of the final model; 1 where that is not finite.
        target_confidence: of a targeted attack, else None.
    """

    error_rate: float
    target_confidence: float | None


def config_of(cell: Cell, root: str | None) -> Config:
    """The cell's configuration, of data under ``root``."""
    own = reduce(_merged, [OTHER_DATA[cell.data], changes(cell), {} if root is None else {"data": {"root": root}}])
    return read_text(BASE.read_text(encoding="utf-8"), BASE.name, own, TABLES)


def play(cell: Cell, root: str | None) -> Found:
    """Play all rounds, and test the last model."""
    config = config_of(cell, root)
    check(config)
    built = experiment(config)
    state, world = built.state, replace(built.world, evaluated=lambda round: False)
    while state.round < config.rounds and state.skipped < config.server.max_skipped:
        state, _ = play_round(state, world)
    figures = world.evaluate(state.params)
    return Found(1 - (_number(figures["accuracy"]) or 0.0), _number(figures.get("target_confidence")))


def _number(figure: object) -> float | None:
    return figure if isinstance(figure, float) and math.isfinite(figure) else None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, the second over the first."""
    found = dict(below)
    for key, value in above.items():
        own = found.get(key)
        found[key] = _merged(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return found
