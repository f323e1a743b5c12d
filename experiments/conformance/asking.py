"""How each is asked: fedsim's rules and attacks, ByzFL's and Flower's, about one input."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from flwr.app import Message, MetricRecord, RecordDict

from experiments.conformance.definitions import Array
from experiments.conformance.entry import Answer
from experiments.conformance.inputs import Floats, Input
from experiments.speed import flower_arrays
from fedsim.domain import Aggregator, Attack, Layout, Refused, Updates, View
from fedsim.seeds import stream


def ours(make: Callable[[Input], Aggregator], weighted: bool = False, rounds: int = 1) -> Answer:
    """A rule of fedsim; after several rounds where it remembers."""

    def answer(given: Input) -> Array | None:
        rule = make(given)
        memory = rule.init(Layout(("weights",), ((given.rows.shape[1],),), given.rows.shape[1]))
        weights = torch.tensor(given.weights, dtype=torch.float32) if weighted else torch.ones(given.n)
        step = torch.zeros(0)
        for rows in (given.rows, given.next_round)[:rounds]:
            try:
                step, memory, *_ = rule(Updates(torch.from_numpy(rows), weights, torch.arange(given.n)), memory)
            except Refused:
                return None
        return _float64(step)

    return answer


def crafted(make: Callable[[Input], Attack], shown: Callable[[Input], Aggregator] | None = None) -> Answer:
    """An attack of fedsim that sees everything, the rule too where one is shown."""

    def answer(given: Input) -> Array:
        d = given.rows.shape[1]
        view = View(
            round=1,
            n=given.n,
            params=torch.zeros(d),
            own=torch.from_numpy(given.own),
            honest=torch.from_numpy(given.honest),
            rule=None if shown is None else shown(given),
            memory={},
            poisoned=torch.from_numpy(given.poisoned),
            layout=Layout(("weights",), ((d,),), d),
        )
        return _float64(make(given)(view, stream(given.seed, "conformance")))

    return answer


def byzfl(make: Callable[[Any, Input], Callable[[Any], Any]], rounds: int = 1) -> Answer:
    """An aggregator of ByzFL's, perhaps made of several, from its module."""

    def answer(given: Input) -> Array | None:
        try:
            aggregate, found = make(importlib.import_module("byzfl"), given), None
            with torch.random.fork_rng(devices=()):
                torch.manual_seed(given.seed)
                for rows in (given.rows, given.next_round)[:rounds]:
                    found = aggregate(torch.from_numpy(rows.copy()))
        except ValueError:
            return None
        return _float64(found)

    return answer


def byzfl_crafted(
    make: Callable[[Any, Input], Callable[[Any], Any]],
    from_rows: Callable[[Input], Floats] = lambda given: given.honest,
) -> Answer:
    """An attack of ByzFL's, from its module: its clients send the one row f times, as its ByzantineClient does."""

    def answer(given: Input) -> Array:
        attack = make(importlib.import_module("byzfl"), given)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(given.seed)
            row = _float64(attack(torch.from_numpy(from_rows(given).copy())))
        return np.array([row] * given.attackers)

    return answer


def after(first: Any, second: Any) -> Any:
    """One of ByzFL's, and another of what it gives."""
    return lambda uploads: second(first(uploads))


def flower(make: Callable[[Input], Any], weighted: bool = False) -> Answer:
    """A strategy of Flower's, whose clients claim the weights as examples or ten each."""

    def answer(given: Input) -> Array | None:
        try:
            arrays, _ = make(given).aggregate_train(1, _replies(given, weighted))
        except ValueError:
            return None
        return None if arrays is None else _float64(flower_arrays.flat(arrays))

    return answer


def _replies(given: Input, weighted: bool) -> list[Message]:
    found = []
    for order, row, count in zip(flower_arrays.orders(given.n), given.rows, given.weights, strict=True):
        metrics = MetricRecord({"num-examples": count if weighted else 10})
        found.append(Message(RecordDict({"arrays": flower_arrays.arrays(row), "metrics": metrics}), reply_to=order))
    return found


def _float64(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)
