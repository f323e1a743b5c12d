"""Romoa, held to its definition: each reading, each switch alone, and the compact factors to those of the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import MeanShift, estimate_bandwidth

from fedsim.domain import Memory
from strategies.romoa import Romoa
from tests.loops import WAYS, working
from tests.strategies import romoa_by_definition, romoa_scores_by_definition
from tests.strategies.romoa_by_definition import Observed
from tests.strategies.romoa_rounds import KINDS, SIZES, Period, Upload, as_float32, layout_of, play, slices_of, training
from tests.strategies.romoa_scores_by_definition import READINGS

CHANGES: Mapping[str, Mapping[str, Any]] = {
    "as read": {},
    "a tight clip": {"clip": 0.5},
    "no clip": {"clip": math.inf},
    "clipped": {"clip": 1.0, "reference": "clipped"},
    "the plain mean": {"reference": "mean"},
    "a majority's centroid": {"centroid": "majority"},
    "its own centroid": {"centroid": "own"},
    "signed": {"deviation": "signed"},
    "two-sided": {"deviation": "two-sided"},
    "hot": {"temperature": 1.0},
    "gated": {"gate": True},
    "not gated": {"gate": False},
    "correlated": {"pattern": "pearson"},
    "as printed": {"pattern": "printed"},
    "everything selected": {"select_ratio": 1.0},
    "little selected": {"select_ratio": 0.04},
    "no past": {"beta": 1.0},
    "a long past": {"beta": 0.1},
}

each_reading = pytest.mark.parametrize("reading", READINGS)
each_change = pytest.mark.parametrize(
    ("reading", "change"),
    [
        (reading, change)
        for reading, switches in READINGS.items()
        for change, values in CHANGES.items()
        if not values or replace(switches, **values) != switches
    ],
)


def fast(reading: Any, change: Mapping[str, Any]) -> Romoa:
    return Romoa(reading=reading, **change)


def slow(
    reading: str, change: Mapping[str, Any], compact: bool = False, sizes: Sequence[int] = SIZES
) -> romoa_by_definition.Romoa:
    return romoa_by_definition.Romoa(replace(READINGS[reading], **change), slices_of(sizes), compact)


def test_by_hand() -> None:
    # r = (4 x - x) / 5 = 0.6 x: cosines and correlations are 1, 1, 1, 1 and -1, of which four are most: c = 1.
    # f = 0 and -2 / 0.1; the softmax gives 1/4 each and nothing. F = (1/4 + 1/5) / 2, and half of 1/5.
    # The gate leaves the fifth nothing; the others' mean is x.
    x = np.array([3.0, 0, 1, 0])
    upload = Upload(np.stack([x, x, x, x, -x]), np.zeros(4), range(5))
    layout = layout_of(4)

    def step(**change: Any) -> list[float]:
        rule = Romoa(**change)
        return rule(upload.updates(), rule.init(layout)).step.tolist()

    assert step() == pytest.approx(x, abs=1e-6)
    # Without the gate: 4 times 0.225, less 0.1.
    assert step(gate=False) == pytest.approx(0.8 * x, abs=1e-6)
    # Everyone is its own centre, and nobody deviates: the mean.
    assert step(centroid="own") == pytest.approx(0.6 * x, abs=1e-6)
    assert step(reading="literal") == pytest.approx(0.6 * x, abs=1e-6)
    # At temperature 2 the fifth's softmax is e^-1 / (4 + e^-1), and W is in proportion to the least of this and of F.
    fifth = math.exp(-1) / (4 + math.exp(-1))
    others = (1 / (4 + math.exp(-1)) + 1 / 5) / 2
    assert step(temperature=2.0) == pytest.approx((4 * others - fifth) / (4 * others + fifth) * x, abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_definitions_mean_shift_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(7, 30))
    values = np.concatenate([rng.normal(0.8, 0.1, n - n // 3), rng.normal(-0.5, 0.05, n // 3)])
    bandwidth = romoa_scores_by_definition.bandwidth_of(values.tolist())
    assert bandwidth == pytest.approx(estimate_bandwidth(values.reshape(-1, 1), quantile=0.3))
    labels = MeanShift(bandwidth=bandwidth).fit(values.reshape(-1, 1)).labels_
    theirs = {tuple(np.flatnonzero(labels == label).tolist()) for label in set(labels)}
    assert {tuple(group) for group in romoa_scores_by_definition.clusters(values.tolist(), bandwidth)} == theirs


@each_change
@pytest.mark.parametrize("seed", range(4))
def test_by_definition(reading: str, change: str, seed: int) -> None:
    expected = slow(reading, CHANGES[change], compact=True)
    compare(fast(reading, CHANGES[change]), expected, seed)


@each_reading
@pytest.mark.parametrize("seed", range(6))
def test_where_all_is_selected_the_factors_are_those_of_the_paper(reading: str, seed: int) -> None:
    change = {"select_ratio": 1.0, "gate": False}
    compare(fast(reading, change), slow(reading, change), seed)


@each_reading
@pytest.mark.parametrize("seed", range(6))
def test_where_the_selection_stays_the_factors_are_those_of_the_paper(reading: str, seed: int) -> None:
    change = {"select_ratio": 1 / 3, "gate": False}
    kinds = [kind for kind in KINDS if kind != "one huge"]
    compare(fast(reading, change), slow(reading, change), seed, kinds=kinds, steady=True)


@pytest.mark.parametrize("gate", [True, False])
def test_where_the_selection_changes_the_step_is_near_that_of_the_paper(gate: bool) -> None:
    # A parameter that has come into the selection takes over the factors of those that were in it. With everybody there
    # and one always hostile that moves the step by some thousandths; a factor by up to half of 1/n.
    rule, expected, rng = Romoa(gate=gate), slow("robust", {"gate": gate}), np.random.default_rng(3)
    memory, direction = rule.init(layout_of(*SIZES)), rng.normal(size=30)
    differences = []
    for params in np.repeat(rng.normal(size=(4, 30)), 4, axis=0):
        rows = direction + 0.7 * rng.normal(size=(10, 30))
        rows[0] = -3 * direction
        exact = expected.aggregate(rows, params, range(10)).step
        step, memory = rule(Upload(rows, params, range(10)).updates(), memory)[:2]
        differences.append(float(np.linalg.norm(step.numpy() - exact) / np.linalg.norm(exact)))
    assert 1e-4 < max(differences) < 0.02


@each_reading
@pytest.mark.parametrize("seed", range(6))
def test_in_single_precision(reading: str, seed: int) -> None:
    compare(fast(reading, {}), slow(reading, {}, compact=True), seed, dtype=torch.float32, n=10)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("reading", "change"), [("robust", {}), ("robust", {"select_ratio": 0.4}), ("literal", {})])
def test_of_thousands_of_entries(way: str, reading: str, change: Mapping[str, Any]) -> None:
    sizes, rng, rule = (900, 1, 2, 1500), np.random.default_rng(9), fast(reading, change)
    expected = slow(reading, change, compact=True, sizes=sizes)
    memory, direction = rule.init(layout_of(*sizes)), rng.normal(size=sum(sizes))
    for _ in range(2):
        rows = direction + 2 * rng.normal(size=(9, len(direction)))
        rows[0], rows[1, 5] = -direction, np.nan
        upload = as_float32(Upload(rows, rng.normal(size=len(direction)), range(9)))
        exact = expected.aggregate(upload.rows, upload.params, upload.clients)
        with working(way):
            result = rule(upload.updates(torch.float32), memory)
        memory = result.memory
        np.testing.assert_allclose(result.step, exact.step, rtol=0, atol=1e-5)


def compare(
    rule: Romoa,
    expected: romoa_by_definition.Romoa,
    seed: int,
    dtype: torch.dtype = torch.float64,
    **kind: Any,
) -> None:
    """Play the same training twice: steps, shares and factors agree, and what is said of each observation."""
    memory = rule.init(layout_of(*SIZES))
    for period in training(seed, **kind):
        *before, sync = period
        seen = [expected.observe(upload.rows, upload.params, upload.clients) for upload in before]
        exact = expected.aggregate(sync.rows, sync.params, sync.clients)
        result = play(rule, period, memory, dtype)
        memory = result.memory
        assert result.step.dtype == dtype
        agree(result.step, exact.step)
        if exact.weights:
            assert result.shares is not None
            agree(result.shares, np.mean(exact.weights, axis=0))
        if expected.compact:
            same_standings(memory, expected)
        same_measures(result.figures, period, [*seen, exact.observed])


def agree(result: torch.Tensor, expected: Any) -> None:
    """To 1e-5; of the largest number, if that is above 1."""
    largest = float(np.abs(expected).max(initial=1, where=~np.isnan(expected)))
    np.testing.assert_allclose(result.double().numpy(), expected, rtol=0, atol=1e-5 * largest)


def same_standings(memory: Memory, expected: romoa_by_definition.Romoa) -> None:
    assert memory["clients"].tolist() == sorted(expected.standings)
    table = np.array([expected.standings[client] for client in sorted(expected.standings)])
    agree(memory["standings"], table.reshape(len(table), -1, 2)[:, :, ::-1])


def same_measures(figures: Memory, period: Period, seen: Sequence[Observed | None]) -> None:
    """What the rule saw of the clients of a sync: nan where an upload is not there or not finite, or P is left out."""
    clients = period[-1].clients
    assert len(figures["similarity"]) == len(period)
    for step, (upload, observed) in enumerate(zip(period, seen, strict=True)):
        expected = np.full((3, len(clients), len(SIZES)), np.nan)
        for row, place in enumerate(observed.finite if observed else []):
            if observed and upload.clients[place] in clients:
                client, found = clients.index(upload.clients[place]), observed.measures
                expected[0, client] = found.similarity[row]
                expected[1, client] = [values[row] for values in found.cosines]
                expected[2, client] = [math.nan if values is None else values[row] for values in found.patterns]
        agree(figures["similarity"][step], expected[0, :, 0])
        agree(figures["layer_cosine"][step], expected[1])
        agree(figures["layer_pattern"][step], expected[2])
