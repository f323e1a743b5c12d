"""A client that fails, in any way, costs its own upload and nothing else: on fedsim's carrier and in anyone's app."""

from __future__ import annotations

import pytest
import torch
from flwr.app import Message

from fedsim.domain import Drop
from strategies import Krum, Median, RobustStrategy
from tests.flower.both_ways import (
    BAD,
    OTHERS,
    as_seen_by_a_strategy,
    carrier_round,
    flattened,
    numbers,
    settled,
    strategy_rounds,
)
from tests.flower.echoes import COUNT, sent, stranger, stranger_arrays
from tests.flower.faults import CASES, SPRUNG
from tests.flower.grids import InProcessGrid


@pytest.mark.parametrize("case", CASES)
def test_a_bad_reply_costs_its_sender_on_the_carrier(case: str) -> None:
    fault, reason = CASES[case].fault, CASES[case].reason
    params, record = carrier_round(Krum(2), {BAD: fault}, 0.3 if case == "never answers" else 30.0)
    assert record.dropped == (Drop(BAD, reason),)
    assert record.skipped is None
    assert torch.equal(params, settled(Krum(2), sent(OTHERS, 1)))
    assert SPRUNG == []


@pytest.mark.parametrize("case", CASES)
def test_a_bad_reply_costs_its_sender_in_a_strangers_app(case: str) -> None:
    strategy = RobustStrategy(Median())
    params, (record,), grid = strategy_rounds(strategy, {BAD: CASES[case].fault})
    known = numbers(strategy, grid)
    assert record.dropped == (Drop(known[BAD], CASES[case].reason),)
    assert record.skipped is None
    assert torch.equal(params, settled(Median(), as_seen_by_a_strategy(OTHERS, known)))
    assert SPRUNG == []


def test_without_a_fault_nobody_is_dropped() -> None:
    params, record = carrier_round(Krum(2), {})
    assert record.dropped == ()
    assert torch.equal(params, settled(Krum(2), sent(list(range(COUNT)), 1)))
    strategy = RobustStrategy(Median())
    params, (record,), grid = strategy_rounds(strategy, {})
    assert record.dropped == ()
    everyone = as_seen_by_a_strategy(range(COUNT), numbers(strategy, grid))
    assert torch.equal(params, settled(Median(), everyone))


def test_nobody_speaks_in_anothers_name_in_a_strangers_app() -> None:
    # Stock grids let a reply say who sent it: a liar can silence one other client, and not put words in its mouth.
    victim: list[int] = []

    def pretend(reply: Message) -> Message:
        reply.metadata.__dict__["_src_node_id"] = victim[0]
        return reply

    strategy = RobustStrategy(Median())
    grid = InProcessGrid.of(stranger(), COUNT, faults={BAD: pretend})
    victim.append(grid.node(7))
    result = strategy.start(grid, stranger_arrays(), 1)
    known = numbers(strategy, grid)
    assert set(strategy.rounds[0].dropped) == {Drop(known[BAD], "absent"), Drop(known[7], "malformed")}
    others = as_seen_by_a_strategy([client for client in OTHERS if client != 7], known)
    assert torch.equal(flattened(result.arrays), settled(Median(), others))


def test_many_bad_replies_of_every_kind() -> None:
    kinds = ["raises", "not a number", "extra array", "megabytes of noise", "garbage"]
    faults = {client: CASES[kind].fault for client, kind in enumerate(kinds)}
    reasons = [CASES[kind].reason for kind in kinds]
    _, record = carrier_round(Median(), faults)
    assert sorted(record.dropped, key=lambda drop: drop.client) == [
        Drop(client, reason) for client, reason in enumerate(reasons)
    ]
    strategy = RobustStrategy(Median())
    _, (record,), grid = strategy_rounds(strategy, faults)
    known = numbers(strategy, grid)
    assert set(record.dropped) == {Drop(known[client], reason) for client, reason in enumerate(reasons)}
