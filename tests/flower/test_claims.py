"""What clients say of their work, counts of examples and losses: what the server makes of false claims."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flwr.app import Message

from fedsim.domain import Drop
from strategies import Mean, Median, RobustStrategy
from tests.flower.both_ways import BAD, OTHERS, as_seen_by_a_strategy, carrier_round, numbers, settled, strategy_rounds
from tests.flower.echoes import COUNT, sent, stranger, stranger_arrays
from tests.flower.faults import metrics
from tests.flower.grids import InProcessGrid

UNREADABLE = {"negative": -5, "missing": None, "a float that is none": float("nan"), "a list": [3]}


@pytest.mark.parametrize("claim", [*UNREADABLE.values(), 12.5, 10**9, 2**40], ids=repr)
def test_equal_weights_make_claims_harmless_in_a_strangers_app(claim: Any) -> None:
    strategy = RobustStrategy(Mean())
    params, (record,), grid = strategy_rounds(strategy, {BAD: metrics({"num-examples": claim})})
    assert record.dropped == ()
    assert torch.equal(params, settled(Mean(), as_seen_by_a_strategy(range(COUNT), numbers(strategy, grid))))


@pytest.mark.parametrize("claim", [*UNREADABLE.values(), 12.5, 0, 2**40], ids=repr)
def test_a_count_that_cannot_be_costs_the_upload_in_a_strangers_app(claim: Any) -> None:
    strategy = RobustStrategy(Mean(), weighting="examples")
    params, (record,), grid = strategy_rounds(strategy, {BAD: metrics({"num-examples": claim})})
    known = numbers(strategy, grid)
    assert record.dropped == (Drop(known[BAD], "malformed"),)
    others = as_seen_by_a_strategy(OTHERS, known)
    assert torch.equal(params, settled(Mean(), others, weighting="examples"))


@pytest.mark.parametrize(("claim", "cap", "counted"), [(10**9, None, 10**9), (1e9, 20, 20), (12.0, None, 12)])
def test_a_high_claim_counts_up_to_the_cap_in_a_strangers_app(claim: float, cap: int | None, counted: int) -> None:
    server = {"weighting": "examples", "weight_cap": cap}
    strategy = RobustStrategy(Mean(), **server)
    params, (record,), grid = strategy_rounds(strategy, {BAD: metrics({"num-examples": claim})})
    assert record.dropped == ()
    uploads = as_seen_by_a_strategy(range(COUNT), known := numbers(strategy, grid))
    uploads.examples[known[BAD]] = counted
    assert torch.equal(params, settled(Mean(), uploads, **server))


@pytest.mark.parametrize("server", [{}, {"weighting": "examples"}, {"weighting": "examples", "weight_cap": 9}])
@pytest.mark.parametrize("claim", [*UNREADABLE.values(), 12.5, 2**60], ids=repr)
def test_a_count_that_cannot_be_costs_the_upload_on_the_carrier(claim: Any, server: dict[str, Any]) -> None:
    params, record = carrier_round(Mean(), {BAD: metrics({"examples": claim})}, **server)
    assert record.dropped == (Drop(BAD, "malformed"),)
    assert torch.equal(params, settled(Mean(), sent(OTHERS, 1), **server))


@pytest.mark.parametrize(
    ("server", "counted"),
    [({}, 14), ({"weighting": "examples"}, 10**9), ({"weighting": "examples", "weight_cap": 20}, 20)],
)
def test_a_high_claim_counts_up_to_the_cap_on_the_carrier(server: dict[str, Any], counted: int) -> None:
    params, record = carrier_round(Mean(), {BAD: metrics({"examples": 10**9})}, **server)
    assert record.dropped == ()
    uploads = sent(list(range(COUNT)), 1)
    uploads.examples[BAD] = counted
    assert torch.equal(params, settled(Mean(), uploads, **server))


@pytest.mark.parametrize("claim", [12, 12.0, 12.5, 1e9, -5.0, *UNREADABLE.values()], ids=repr)
def test_a_claim_is_a_count_in_a_strangers_app_exactly_where_it_is_one_on_the_carrier(claim: Any) -> None:
    _, record = carrier_round(Mean(), {BAD: metrics({"examples": claim})}, weighting="examples")
    strategy = RobustStrategy(Mean(), weighting="examples")
    _, (other,), _ = strategy_rounds(strategy, {BAD: metrics({"num-examples": claim})})
    assert [drop.reason for drop in record.dropped] == [drop.reason for drop in other.dropped]
    assert (record.dropped == ()) == (claim in (12, 1e9))


@pytest.mark.parametrize(("claim", "counted"), [(12.0, 12), (1e9, 10**9)])
def test_a_count_may_be_written_as_a_float_on_the_carrier(claim: float, counted: int) -> None:
    params, _ = carrier_round(Mean(), {BAD: metrics({"examples": claim})}, weighting="examples")
    uploads = sent(list(range(COUNT)), 1)
    uploads.examples[BAD] = counted
    assert torch.equal(params, settled(Mean(), uploads, weighting="examples"))


@pytest.mark.parametrize("names", [[], ["figures"], ["metrics", "more"]])
def test_a_reply_without_its_metrics_and_them_alone_is_malformed_on_the_carrier(names: list[str]) -> None:
    def fault(reply: Message) -> Message:
        record = reply.content.metric_records["metrics"]
        del reply.content["metrics"]
        reply.content.update(dict.fromkeys(names, record))
        return reply

    _, record = carrier_round(Mean(), {BAD: fault})
    assert record.dropped == (Drop(BAD, "malformed"),)


def test_a_loss_that_is_no_number_is_only_not_known() -> None:
    _, record = carrier_round(Mean(), {BAD: metrics({"loss": float("nan")})})
    assert record.dropped == ()
    _, record = carrier_round(Mean(), {BAD: metrics({"loss": [1.0]})})
    assert record.dropped == (Drop(BAD, "malformed"),)


def test_forged_metrics_stay_out_of_the_figures() -> None:
    strategy = RobustStrategy(Median())
    forged = {"train_loss": float("inf"), "dropped": 99, "skipped": 99}
    grid = InProcessGrid.of(stranger(), COUNT, faults={BAD: metrics(forged)})
    result = strategy.start(grid, stranger_arrays(), 1)
    assert result.train_metrics_clientapp[1] == {
        "dropped": 0,
        "skipped": 0,
        "num-examples": sum(10 + client for client in range(COUNT)) / COUNT,
        "train_loss": sum(OTHERS) / len(OTHERS),
    }
