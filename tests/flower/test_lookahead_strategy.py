"""RobustStrategy with lookahead uploads, in a stranger's app, does what fedsim does with the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Message
from torch import Tensor

from fedsim.domain import Drop, Mistake, Updates
from strategies import Mean, RobustStrategy
from tests.engine.watching import Noting, Trailing
from tests.flower.echoes import COUNT, START, stranger_arrays
from tests.flower.grids import Fault, InProcessGrid
from tests.flower.walkers import AHEAD, after, expected, row, walker

BAD = 4


@pytest.mark.parametrize(
    "server",
    [{}, {"momentum": 0.5, "learning_rate": 0.7}, {"weighting": "examples", "weight_cap": 15}],
    ids=["plain", "momentum", "examples"],
)
def test_the_same_as_observed_and_settled(server: dict[str, Any]) -> None:
    strategy = RobustStrategy(Trailing(), lookahead=AHEAD, **server)
    found, numbers = after(strategy)
    assert [(record.dropped, record.skipped) for record in strategy.rounds] == [((), None)] * 3
    assert torch.equal(found, expected(Trailing(), numbers, **server).params)


def test_shows_the_rule_each_moment_in_order() -> None:
    rule = Noting()
    _, numbers = after(RobustStrategy(rule, lookahead=AHEAD), rounds=2)
    assert [(look.ahead, look.looks, look.rounds) for look in rule.noted] == [
        *((True, 0, 0), (True, 1, 0), (False, 2, 0)),
        *((True, 2, 1), (True, 3, 1), (False, 4, 1)),
    ]
    by_number = {number: client for client, number in numbers.items()}
    for moment, look in enumerate(rule.noted[:3]):
        assert look.clients == sorted(look.clients)
        assert len(look.clients) == COUNT
        assert look.params == START.tolist()
        rows = np.stack([row(by_number[number], 1, moment) for number in look.clients])
        np.testing.assert_allclose(np.array(look.rows), rows, atol=1e-6)


def test_nodes_that_come_later() -> None:
    """The memory of uploads grows with them, moment by moment."""
    rule = Noting()
    strategy = RobustStrategy(rule, lookahead=AHEAD)
    grid = InProcessGrid(walker())

    def company(reply: Message) -> Message:
        for client in range(1, COUNT):
            grid.add(100 + client, client, COUNT)
        return reply

    grid.add(100, 0, COUNT)
    grid.faults[0] = company
    strategy.start(grid, stranger_arrays(), 2)
    assert [len(look.clients) for look in rule.noted] == [1, 1, 1, COUNT, COUNT, COUNT]
    np.testing.assert_allclose(np.array(rule.noted[4].rows)[7], row(7, 2, 1), atol=1e-6)


def test_records_are_named_after_the_models() -> None:
    strategy = RobustStrategy(Trailing(), lookahead=AHEAD, arrayrecord_key="model")
    found, numbers = after(strategy, app=walker("model"))
    assert torch.equal(found, expected(Trailing(), numbers).params)


def dropping(name: str) -> Fault:
    """A record is missing."""

    def fault(reply: Message) -> Message:
        del reply.content[name]
        return reply

    return fault


def adding(name: str) -> Fault:
    """One too many."""

    def fault(reply: Message) -> Message:
        reply.content[name] = reply.content.array_records["arrays"]
        return reply

    return fault


def changing(change: Callable[[ArrayRecord], None], name: str = "arrays-lookahead-2") -> Fault:
    """Another record of a moment."""

    def fault(reply: Message) -> Message:
        change(reply.content.array_records[name])
        return reply

    return fault


def narrower(arrays: ArrayRecord) -> None:
    """A number short."""
    arrays["bias"] = Array(arrays["bias"].numpy()[:-1].copy())


def without_bias(arrays: ArrayRecord) -> None:
    """A tensor short."""
    del arrays["bias"]


def doubles(arrays: ArrayRecord) -> None:
    """Of another type."""
    arrays["bias"] = Array(arrays["bias"].numpy().astype(np.float64))


FAULTS: dict[str, tuple[Fault, Any]] = {
    "the last moment missing": (dropping("arrays-lookahead-2"), "malformed"),
    "the first moment missing": (dropping("arrays-lookahead-1"), "malformed"),
    "the sync missing": (dropping("arrays"), "malformed"),
    "one too many": (adding("arrays-lookahead-3"), "malformed"),
    "another record": (adding("more"), "malformed"),
    "another shape": (changing(narrower), "wrong shape"),
    "a tensor short": (changing(without_bias), "malformed"),
    "another type": (changing(doubles), "malformed"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_anything_else_costs_its_sender(case: str) -> None:
    fault, reason = FAULTS[case]
    strategy = RobustStrategy(Trailing(), lookahead=AHEAD)
    found, numbers = after(strategy, faults={BAD: fault})
    assert [record.dropped for record in strategy.rounds] == [(Drop(numbers[BAD], reason),)] * 3
    lost = {number: {BAD} for number in (1, 2, 3)}
    assert torch.equal(found, expected(Trailing(), numbers, without=lost).params)


def test_numbers_that_are_not_finite_are_the_rules_affair_ahead_of_the_sync() -> None:
    def spoil(arrays: ArrayRecord) -> None:
        values = arrays["bias"].numpy().copy()
        values[1] = np.nan
        arrays["bias"] = Array(values)

    strategy = RobustStrategy(Trailing(), lookahead=AHEAD)
    found, numbers = after(strategy, faults={BAD: changing(spoil)})
    assert [record.dropped for record in strategy.rounds] == [()] * 3

    def spoilt(client: int, rows: list[Tensor]) -> None:
        if client == BAD:
            rows[1][9] = torch.nan

    assert torch.equal(found, expected(Trailing(), numbers, change=spoilt).params)
    strategy = RobustStrategy(Trailing(), lookahead=AHEAD)
    _, numbers = after(strategy, faults={BAD: changing(spoil, "arrays")})
    assert [record.dropped for record in strategy.rounds] == [(Drop(numbers[BAD], "non-finite"),)] * 3


def test_a_skipped_round_is_forgotten() -> None:
    calls: list[int] = []

    def in_round_two(reply: Message) -> Message | None:
        calls.append(0)
        return None if len(calls) == 2 else reply

    strategy = RobustStrategy(Trailing(least=COUNT), lookahead=AHEAD)
    found, numbers = after(strategy, faults={BAD: in_round_two})
    assert [record.skipped for record in strategy.rounds] == [None, f"trailing refuses n = {COUNT - 1}", None]
    assert torch.equal(found, expected(Trailing(least=COUNT), numbers, without={2: {BAD}}).params)


def test_without_lookahead_uploads_it_is_as_ever_and_takes_none() -> None:
    strategy = RobustStrategy(Trailing())
    found, numbers = after(strategy, app=walker(ahead=0))
    assert [record.dropped for record in strategy.rounds] == [()] * 3
    assert found.isfinite().all()
    strategy = RobustStrategy(Mean(), max_skipped=10)
    found, numbers = after(strategy, rounds=1)
    assert set(strategy.rounds[0].dropped) == {Drop(number, "malformed") for number in numbers.values()}
    assert strategy.rounds[0].skipped == "no usable upload is left"
    assert found.tolist() == START.tolist()


@pytest.mark.parametrize(
    ("rule", "lookahead", "message"),
    [
        (Mean(), 2, "RobustStrategy: lookahead = 2: Mean watches no lookahead uploads"),
        (Trailing(), -1, "RobustStrategy: lookahead = -1; must be at least 0"),
        (Mean(), -1, "RobustStrategy: lookahead = -1; must be at least 0"),
    ],
)
def test_refuses(rule: Any, lookahead: int, message: str) -> None:
    with pytest.raises(Mistake) as mistake:
        RobustStrategy(rule, lookahead=lookahead)
    assert str(mistake.value) == message


def test_a_rule_may_keep_what_it_was_shown() -> None:
    """The matrices are used again in the next round; what a rule remembers must not change with them."""

    class Keeping(Trailing):
        """Remembers the first client's last look."""

        def observe(self, updates: Updates, memory: Any) -> Any:
            """Keep a view of it."""
            before = memory.get("kept")
            assert before is None or memory["copy"].equal(before)
            kept = updates.deltas[0]
            return {**super().observe(updates, memory), "kept": kept, "copy": kept.clone()}

    strategy = RobustStrategy(Keeping(), lookahead=AHEAD)
    after(strategy, rounds=4)
    assert [record.skipped for record in strategy.rounds] == [None] * 4
