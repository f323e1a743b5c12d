"""A run of the Romoa study, with the figures of every round that its pictures show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from experiments.romoa.cells import config_of
from experiments.romoa.suites import Cell
from fedsim.build import experiment, federation
from fedsim.domain import Dataset
from fedsim.engine.round import play_round
from fedsim.training import evaluate

FIGURES = ("test accuracy", "training accuracy", "confidence in the true label", "confidence in the poisoned label")
POINTS = 30
"""Rounds that are tested, of all."""


@dataclass(frozen=True)
class Curves:
    """Figures over rounds.

    Fields:
        rounds: those tested.
        values: for each of them one for each of ``FIGURES``; nan where there is no targeted attack.
    """

    rounds: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]


def play(cell: Cell, root: str | None) -> Curves:
    """Play a cell, and test the model now and then."""
    torch.set_num_threads(1)
    config = config_of(cell, root)
    built, clients = experiment(config), federation(config)
    model, size = clients.carrier.model, config.evaluation.batch_size
    train = clients.carrier.shards.samples
    every = max(1, config.rounds // POINTS)

    def tested(params: torch.Tensor) -> Iterator[float]:
        yield evaluate(model, params, clients.test, size).accuracy
        yield evaluate(model, params, train, size).accuracy
        source = getattr(clients.forger.adversary.attack, "source", 0)
        for goal in (None if clients.goal is None else _relabelled(clients.goal, source), clients.goal):
            yield math.nan if goal is None else evaluate(model, params, goal, size).confidence

    state, world = built.state, replace(built.world, evaluated=lambda round: False)
    rounds, values = [0], [tuple(tested(state.params))]
    while state.round < config.rounds and state.skipped < config.server.max_skipped:
        state, _ = play_round(state, world)
        if state.round % every == 0:
            rounds.append(state.round)
            values.append(tuple(tested(state.params)))
    return Curves(tuple(rounds), tuple(values))


def _relabelled(goal: Dataset, source: int) -> Dataset:
    """A targeted attack's samples, under their right label."""
    return Dataset(goal.inputs, torch.full_like(goal.labels, source), goal.classes)
