"""A cell of the study, played; what Romoa thinks of its clients is looked up after every round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from experiments.romoa.adaptive.suites import Cell, changes
from experiments.romoa.cells import BASE
from fedsim.build import TABLES, check, experiment
from fedsim.config import Config
from fedsim.config.reading import read_text
from fedsim.engine.round import play_round

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedsim.domain import Memory


@dataclass(frozen=True)
class Found:
    """What came of a cell.

    Fields:
        error_rate: 1 - accuracy of the final model.
        target_confidence: of a targeted attack, else None.
        attackers_share: of the step, the mean over rounds; None without attackers.
        honest_factor, attackers_factor: Romoa's n F, the mean over rounds, clients, tensors and both kinds of entries;
            None for other rules, and where nobody is.
    """

    error_rate: float
    target_confidence: float | None
    attackers_share: float | None
    honest_factor: float | None
    attackers_factor: float | None


def config_of(cell: Cell) -> Config:
    """The cell's configuration."""
    return read_text(BASE.read_text(encoding="utf-8"), BASE.name, changes(cell), TABLES)


def play(cell: Cell) -> Found:
    """Play all rounds, and test the last model."""
    config = config_of(cell)
    check(config)
    built = experiment(config)
    state, world = built.state, replace(built.world, evaluated=lambda round: False)
    attackers = world.forger.adversary.clients
    honest = tuple(client for client in range(cell.clients) if client not in attackers)
    shares: list[float] = []
    factors: dict[tuple[int, ...], list[float]] = {honest: [], attackers: []}
    while state.round < config.rounds:
        state, record = play_round(state, world)
        share = record.measures.get("attackers_share")
        shares += [share] if isinstance(share, float) else []
        for clients, found in factors.items():
            found += _factors(state.memory, clients)
    figures = world.evaluate(state.params)
    confidence, accuracy = figures.get("target_confidence"), figures["accuracy"]
    assert isinstance(accuracy, float)
    return Found(
        error_rate=1 - accuracy,
        target_confidence=confidence if isinstance(confidence, float) else None,
        attackers_share=_mean(shares),
        honest_factor=_mean(factors[honest]),
        attackers_factor=_mean(factors[attackers]),
    )


def _factors(memory: Memory, clients: Sequence[int]) -> list[float]:
    """The mean n F of each of the clients; of none where the rule has no such thing."""
    if "standings" not in memory:
        return []
    means = dict(zip(memory["clients"].tolist(), memory["standings"].mean(dim=(1, 2)).tolist(), strict=True))
    return [means[client] for client in clients]


def _mean(figures: Sequence[float]) -> float | None:
    return fmean(figures) if figures else None
