"""Romoa where uploads are missing, not finite or all alike; what it remembers, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fedsim.domain import Mistake, Refused
from strategies.romoa import Romoa
from tests.strategies.romoa_rounds import LAYOUT, Upload, factors, four_opposite, layout_of, opposite, standings, upload


def test_nobody_moves_where_most_stand_still() -> None:
    rng = np.random.default_rng(1)
    seen = upload(rng, rng.normal(size=30))
    seen.rows[4:] = 0
    rule = Romoa()
    assert not rule(seen.updates(), rule.init(LAYOUT)).step.any()


def test_uploads_that_are_not_finite_weigh_nothing() -> None:
    rng, rule = np.random.default_rng(4), Romoa()
    start = rule.init(LAYOUT)
    seen = upload(rng, rng.normal(size=30))
    seen.rows[0, 2], seen.rows[5, 7] = np.nan, np.inf
    others = Upload(seen.rows.copy(), seen.params, seen.clients)
    others.rows[[0, 5]] = [[-np.inf], [np.nan]]
    step = rule(seen.updates(), start).step.numpy()
    assert np.array_equal(step, rule(others.updates(), start).step.numpy())
    expected = np.delete(seen.rows, [0, 5], axis=0).mean(axis=0)
    assert np.linalg.norm(step - expected) < 0.1 * np.linalg.norm(expected)
    shares = factors(rule.observe(seen.updates(), start))
    np.testing.assert_allclose(shares[[0, 5]], 0.05, rtol=0, atol=1e-6)


def test_where_nobodys_upload_is_finite_nothing_changes() -> None:
    rng, rule = np.random.default_rng(4), Romoa()
    seen = upload(rng, rng.normal(size=30), opposite)
    memory = rule.observe(seen.updates(), rule.init(LAYOUT))
    lost = Upload(np.full_like(seen.rows, np.nan), seen.params, seen.clients)
    result = rule(lost.updates(), memory)
    assert not result.step.any()
    np.testing.assert_allclose(factors(memory), factors(result.memory), rtol=0, atol=1e-12)


def test_one_client_is_followed() -> None:
    rule, seen = Romoa(), Upload(np.array([[3.0, -1, 2]]), np.ones(3), [6])
    result = rule(seen.updates(), rule.observe(seen.updates(), rule.init(layout_of(3))))
    assert result.step.tolist() == pytest.approx([3, -1, 2])


def test_a_sync_alone_is_enough() -> None:
    rule, rng = Romoa(), np.random.default_rng(8)
    seen = upload(rng, rng.normal(size=30), opposite)
    step = rule(seen.updates(), rule.init(LAYOUT)).step.numpy()
    expected = seen.rows[1:].mean(axis=0)
    assert np.linalg.norm(step - expected) < 0.1 * np.linalg.norm(expected)


def test_who_is_away_is_remembered() -> None:
    rule, rng = Romoa(), np.random.default_rng(9)
    direction, memory = rng.normal(size=30), rule.init(LAYOUT)
    for _ in range(8):
        memory = rule.observe(upload(rng, direction, opposite).updates(), memory)
    away = upload(rng, direction)
    without = Upload(away.rows[1:], away.params, range(1, 10))
    memory = rule(without.updates(), memory).memory
    back = upload(rng, direction)
    assert 10 * factors(rule.observe(back.updates(), memory))[0].max() < 0.9


def test_a_cohort_of_silenced_clients_alone_does_not_clear_them() -> None:
    rule, rng = Romoa(), np.random.default_rng(9)
    direction, memory = rng.normal(size=30), rule.init(LAYOUT)
    for _ in range(12):
        memory = rule.observe(upload(rng, direction, four_opposite).updates(), memory)
    alone = upload(rng, direction)
    memory = rule(Upload(alone.rows[:3], alone.params, range(3)).updates(), memory).memory
    # Among themselves they count as equals; among all they stand as before.
    assert 10 * factors(memory)[:3].max() < 0.01


def test_clients_without_any_say_left_start_anew_where_nobody_else_is() -> None:
    # At this temperature the four's softmax is 0 in float64, and without a past so are their factors.
    rule, rng = Romoa(temperature=1e-4, beta=1.0), np.random.default_rng(9)
    seen = upload(rng, rng.normal(size=30), four_opposite)
    memory = rule.observe(seen.updates(), rule.init(LAYOUT))
    assert not standings(memory, range(4)).any()
    alone = Upload(seen.rows[:3], seen.params, range(3))
    result = replace(rule, beta=0.5)(alone.updates(), memory)
    assert torch.allclose(result.step, torch.from_numpy(seen.rows[0]))
    np.testing.assert_allclose(result.figures["factor"][-1], 1 / 3)


def test_observing_leaves_its_inputs_alone() -> None:
    rule, rng = Romoa(), np.random.default_rng(6)
    seen = upload(rng, rng.normal(size=30)).updates()
    memory = rule.observe(seen, rule.init(LAYOUT))
    given: list[Tensor] = [seen.deltas, seen.weights, seen.clients, *memory.values()]
    before = [tensor.clone() for tensor in given]
    again, same = rule.observe(seen, memory), rule.observe(seen, memory)
    assert all(torch.equal(now, then) for now, then in zip(given, before, strict=True))
    assert all(torch.equal(again[name], same[name]) for name in again)


def test_the_memory_does_not_grow_with_the_model() -> None:
    def size_of(n: int, d: int) -> int:
        rule = Romoa()
        seen = Upload(np.random.default_rng(0).normal(size=(n, d)), np.ones(d), range(n))
        layout = layout_of(*[d // 8] * 8)
        memory = rule.init(layout)
        for _ in range(3):
            memory = rule.observe(seen.updates(torch.float32), memory)
        return sum(tensor.element_size() * tensor.nelement() for tensor in memory.values())

    # The paper's MNIST net has eight tensors and 3,382,346 weights.
    assert size_of(200, 80) < 50e6
    assert size_of(3, 3_382_400) == size_of(3, 80)


@pytest.mark.parametrize("name", ["beta", "select_ratio"])
def test_refuses_shares_out_of_range(name: str) -> None:
    for value, needed in ((0.0, "greater than 0"), (-0.5, "greater than 0"), (1.5, "at most 1")):
        with pytest.raises(Mistake) as refusal:
            Romoa(**{name: value})  # type: ignore[arg-type]
        assert str(refusal.value) == f"Romoa.{name}: {value} is out of range; must be {needed}"


def test_refuses_two_uploads() -> None:
    with pytest.raises(Refused) as refusal:
        Romoa().require(2)
    assert str(refusal.value) == "romoa refuses n = 2 uploads: neither is a majority; it needs n >= 3, or one alone"


def test_refuses_an_empty_round() -> None:
    with pytest.raises(Refused) as refusal:
        Romoa().require(0)
    assert str(refusal.value) == "romoa refuses n = 0 uploads: it needs n >= 1"


def test_refuses_a_round_without_the_weights_it_started_from() -> None:
    rule, seen = Romoa(), upload(np.random.default_rng(0), np.ones(30)).updates()
    with pytest.raises(Refused) as refusal:
        rule(replace(seen, params=None), rule.init(LAYOUT))
    assert (
        str(refusal.value) == "romoa refuses a round without params: it needs the model that the clients started from"
    )
