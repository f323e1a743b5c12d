"""What holds of every rule of the table, whatever it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Aggregate, Aggregator, Refused, Updates
from strategies import RULES
from tests.strategies.examples import (
    BY_ENTRY,
    EXAMPLES,
    NOT_TRANSLATED,
    NOT_UNANIMOUS,
    RESCALED,
    TIED,
    every,
    innermost,
    least,
    rule_named,
)
from tests.strategies.rounds import apply, flat, steady, updates


@st.composite
def generic(draw: st.DrawFn) -> Callable[[int], Updates]:
    """A round of n uploads or a few more, without ties; weights nearly alike, lest a few hold half."""
    more, d = draw(st.integers(0, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def round_(n: int) -> Updates:
        # Multiples of 1/64, to which float32 adds an offset exactly, and a last entry that none is added to.
        rows = np.round(64 * 4 * rng.normal(size=(n + more, d))) / 64
        rows = np.hstack([rows, rng.normal(size=(n + more, 1))])
        return updates(rows, weights=rng.integers(4, 6, n + more))

    return round_


def agree(one: Aggregate, other: Aggregate, scale: float = 10.0) -> None:
    assert torch.allclose(one.step, other.step, rtol=0, atol=2e-5 * scale)


def test_every_rule_has_an_example() -> None:
    assert set(EXAMPLES) == set(RULES.entries)


@every()
def test_keeps_the_contract(name: str) -> None:
    assert isinstance(rule_named(name), Aggregator)


@every()
@steady
@given(make=generic(), more=st.integers(0, 2))
def test_the_step_is_a_finite_vector_of_the_updates_kind(name: str, make: Callable[[int], Updates], more: int) -> None:
    rule = rule_named(name)
    round_ = make(least(rule) + more)
    result = apply(rule, round_)
    assert result.step.shape == round_.deltas.shape[1:]
    assert result.step.dtype == round_.deltas.dtype
    assert torch.isfinite(result.step).all()


@every(but=TIED)
@steady
@given(make=generic())
def test_float64_in_is_float64_out_and_agrees(name: str, make: Callable[[int], Updates]) -> None:
    rule = rule_named(name)
    round_ = make(least(rule))
    wide = apply(rule, Updates(round_.deltas.double(), round_.weights, round_.clients))
    assert wide.step.dtype == torch.float64
    assert torch.allclose(apply(rule, round_).step.double(), wide.step, rtol=0, atol=2e-4)


@every(but=TIED)
@steady
@given(make=generic(), order=st.randoms(use_true_random=False))
def test_the_order_of_clients_changes_nothing(name: str, make: Callable[[int], Updates], order: Any) -> None:
    rule = rule_named(name)
    round_ = make(least(rule))
    places = list(range(len(round_)))
    order.shuffle(places)
    moved = Updates(round_.deltas[places], round_.weights[places], round_.clients[places])
    before, after = apply(rule, round_), apply(rule, moved)
    agree(before, after)
    if before.shares is not None:
        assert after.shares is not None
        assert torch.allclose(before.shares[places], after.shares, atol=1e-4)


@every(but=NOT_TRANSLATED + TIED)
@steady
@given(make=generic(), offset=st.integers(-2560, 2560))
def test_an_offset_of_all_is_an_offset_of_the_step(name: str, make: Callable[[int], Updates], offset: int) -> None:
    rule = rule_named(name)
    round_ = make(least(rule))
    shift = torch.full_like(round_.deltas[0], offset / 64)
    shift[-1] = 0
    moved = Updates(round_.deltas + shift, round_.weights, round_.clients)
    expected = Aggregate(apply(rule, round_).step + shift)
    agree(apply(rule, moved), expected, scale=50)


@every(but=NOT_UNANIMOUS)
@steady
@given(make=generic())
def test_follows_the_unanimous(name: str, make: Callable[[int], Updates]) -> None:
    rule = rule_named(name)
    round_ = make(least(rule))
    same = Updates(round_.deltas[:1].expand_as(round_.deltas), round_.weights, round_.clients)
    assert torch.allclose(apply(rule, same).step, round_.deltas[0], rtol=1e-5, atol=1e-5)


@every()
@steady
@given(make=generic())
def test_leaves_its_inputs_alone_and_repeats_itself(name: str, make: Callable[[int], Updates]) -> None:
    rule = rule_named(name)
    round_ = make(least(rule))
    _, memory, *_ = apply(rule, round_)
    given_ = [round_.deltas, round_.weights, round_.clients, *memory.values()]
    before = [tensor.clone() for tensor in given_]
    first, second = rule(round_, memory), rule(round_, memory)
    assert all(torch.equal(now, then) for now, then in zip(given_, before, strict=True))
    assert first.step.numpy().tobytes() == second.step.numpy().tobytes()
    assert first.memory.keys() == second.memory.keys() == rule.init(flat(round_.deltas.shape[1])).keys()
    assert all(torch.equal(first.memory[key], second.memory[key]) for key in first.memory)
    # What comes out shares no storage with what went in.
    first.step.fill_(7)
    assert torch.equal(round_.deltas, before[0])


@every()
@steady
@given(make=generic())
def test_shares_are_shares(name: str, make: Callable[[int], Updates]) -> None:
    rule = rule_named(name)
    round_ = make(least(rule))
    step, _, shares, _ = apply(rule, round_)
    assert (shares is None) == (innermost(name) in BY_ENTRY)
    if shares is not None:
        assert shares.shape == (len(round_),)
        assert shares.dtype == round_.deltas.dtype
        assert (shares >= 0).all()
        assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
        assert innermost(name) in RESCALED or torch.allclose(shares @ round_.deltas, step, atol=1e-4)


@every()
def test_refuses_one_upload_too_few(name: str) -> None:
    rule = rule_named(name)
    n = least(rule) - 1
    few = updates(np.zeros((n, 2)))
    with pytest.raises(Refused, match=rf"refuses n = {n} uploads.*it needs n >= \d"):
        rule(few, rule.init(flat(2)))


@every()
def test_huge_uploads_leave_it_finite(name: str) -> None:
    rule = rule_named(name)
    rows = np.random.default_rng(0).normal(size=(least(rule) + 1, 3))
    for huge in (3e38, -3e38):
        rows[0] = huge
        assert torch.isfinite(apply(rule, updates(rows)).step).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every()
def test_a_gpu_agrees(name: str) -> None:
    rule = rule_named(name)
    here = updates(np.random.default_rng(1).normal(size=(least(rule) + 2, 50)))
    there = Updates(here.deltas.cuda(), here.weights.cuda(), here.clients.cuda())
    result = apply(rule, there)
    assert result.step.is_cuda
    assert torch.allclose(result.step.cpu(), apply(rule, here).step, atol=1e-4)
