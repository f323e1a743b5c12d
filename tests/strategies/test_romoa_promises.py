"""What Romoa promises: who is silenced and who is not, and what changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from strategies.romoa import Romoa
from tests.strategies.romoa_rounds import (
    LAYOUT,
    Array,
    Turn,
    Upload,
    factors,
    four_opposite,
    opposite,
    play,
    standings,
    training,
    upload,
)


def owner(rows: Array, direction: Array) -> None:
    """One so long that the plain mean is its own, and at right angles to the others."""
    rows[0] = 1e3 * np.where(np.arange(len(direction)) % 2, -1, 1) * np.roll(direction, 1)


def after(rule: Romoa, turn: Turn | None, observations: int = 12) -> Array:
    """The factors of ten clients who have sent so many lookahead uploads."""
    rng = np.random.default_rng(7)
    direction, memory = rng.normal(size=30), rule.init(LAYOUT)
    for _ in range(observations):
        memory = rule.observe(upload(rng, direction, turn).updates(), memory)
    return factors(memory)


@pytest.mark.parametrize("reading", ["robust", "paper"])
def test_a_lone_opposite_client_is_silenced(reading: Any) -> None:
    assert 10 * after(Romoa(reading=reading), opposite)[0].max() < 0.01


def test_with_its_own_clusters_centroid_it_is_not() -> None:
    assert 10 * after(Romoa(centroid="own"), opposite)[0].min() >= 1


def test_four_of_ten_are_silenced_though_they_are_the_largest_cluster() -> None:
    assert 10 * after(Romoa(), four_opposite)[:4].max() < 0.01


def test_who_owns_the_mean_is_silenced_for_agreeing_with_it_too_well() -> None:
    assert 10 * after(Romoa(reading="paper"), owner)[0].max() < 0.01
    assert 10 * after(Romoa(reading="paper", deviation="signed"), owner)[0].max() > 5


def test_honest_clients_keep_their_say() -> None:
    fair = 10 * after(Romoa(), None).mean(axis=1)
    assert fair.min() > 0.5
    assert fair.max() < 1.5


def test_who_strikes_at_the_sync_only_is_kept_out_by_the_gate() -> None:
    def error(**change: Any) -> float:
        rng, rule = np.random.default_rng(3), Romoa(**change)
        direction, memory = rng.normal(size=30), rule.init(LAYOUT)
        for _ in range(5):
            memory = rule.observe(upload(rng, direction).updates(), memory)
        sync = upload(rng, direction, opposite)
        expected = sync.rows[1:].mean(axis=0)
        step = rule(sync.updates(), memory).step.numpy()
        return float(np.linalg.norm(step - expected) / np.linalg.norm(expected))

    assert error() < 0.1
    assert error(reading="paper") < 0.1
    assert error(gate=False) > 0.05
    assert error(reading="paper", gate=False) > 0.15


@pytest.mark.parametrize("reading", ["robust", "paper", "literal"])
@pytest.mark.parametrize("seed", range(4))
def test_factors_sum_to_one(reading: Any, seed: int) -> None:
    rule = Romoa(reading=reading)
    memory = rule.init(LAYOUT)
    for period in training(seed):
        result = play(rule, period, memory)
        memory = result.memory
        found = result.figures["factor"][-1].numpy()
        np.testing.assert_allclose(found.sum(axis=0), 1, rtol=0, atol=1e-6)
        # Who comes and goes takes no weight away from the others, and brings none.
        everybody = memory["clients"].tolist()
        np.testing.assert_allclose(standings(memory, everybody).sum(axis=0), len(everybody), rtol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_clients_in_another_order_have_the_same_factors(seed: int) -> None:
    rule, rng = Romoa(), np.random.default_rng(seed)
    one = other = rule.init(LAYOUT)
    order = rng.permutation(10).tolist()
    for _ in range(3):
        seen = upload(rng, rng.normal(size=30), opposite)
        moved = Upload(seen.rows[order], seen.params, order)
        first, second = rule(seen.updates(), one), rule(moved.updates(), other)
        one, other = first.memory, second.memory
        assert torch.allclose(first.step, second.step, rtol=0, atol=1e-9)
        np.testing.assert_allclose(factors(one), factors(other), rtol=0, atol=1e-6)


def test_clients_of_other_names_have_the_same_factors_under_these() -> None:
    rule, rng = Romoa(), np.random.default_rng(5)
    one = other = rule.init(LAYOUT)
    names = rng.permutation(10).tolist()
    for _ in range(3):
        seen = upload(rng, rng.normal(size=30), opposite)
        renamed = Upload(seen.rows, seen.params, names)
        one, other = rule(seen.updates(), one).memory, rule(renamed.updates(), other).memory
    np.testing.assert_allclose(factors(one), factors(other)[names], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_length_of_all_is_the_length_of_the_step(scale: float) -> None:
    rule = Romoa(select_ratio=1.0)
    one = other = rule.init(LAYOUT)
    for period in training(11, n=10, kinds=["honest", "one opposite", "colluders"]):
        scaled = [Upload(scale * upload.rows, upload.params, upload.clients) for upload in period]
        first, second = play(rule, period, one), play(rule, scaled, other)
        one, other = first.memory, second.memory
        assert torch.allclose(scale * first.step, second.step, rtol=0, atol=1e-9 * scale)


def test_as_printed_the_length_of_all_changes_the_factors() -> None:
    rule, rng = Romoa(pattern="printed", select_ratio=1.0), np.random.default_rng(2)
    seen = upload(rng, rng.normal(size=30))
    shorter = Upload(0.1 * seen.rows, seen.params, seen.clients)
    start = rule.init(LAYOUT)
    long, short = (factors(rule.observe(it.updates(), start)) for it in (seen, shorter))
    assert np.abs(long - short).max() > 0.05
