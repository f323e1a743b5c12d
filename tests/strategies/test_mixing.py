"""Nearest-neighbour mixing and bucketing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsim.domain import Aggregate, Layout, Memory, Refused, Updates
from fedsim.seeds import stream
from strategies import Bucketing, CenteredClipping, FLTrust, Krum, Mean, Median, NearestNeighborMixing
from tests.strategies import definitions
from tests.strategies.rounds import Drawn, apply, close, flat, numbers, rounds, steady, updates


@dataclass(frozen=True)
class Seen:
    """A rule that hands back what it was given."""

    def require(self, n: int) -> None:
        pass

    def init(self, layout: Layout) -> Memory:
        return {}

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        return Aggregate(updates.deltas, {"weights": updates.weights, "clients": updates.clients})


def test_nnm_by_hand() -> None:
    # f = 1, three of four nearest, itself among them: 0 1 4, 0 1 4, 0 1 4, 1 4 10.
    mixed = apply(NearestNeighborMixing(1, Seen()), updates(numbers(0, 1, 4, 10)))
    assert mixed.step.flatten().tolist() == pytest.approx([5 / 3, 5 / 3, 5 / 3, 5])


def test_nnm_shares_count_every_mixture_a_client_is_in() -> None:
    # Krum over mixtures 5/3 5/3 5/3 5 picks the first: the mean of 0, 1 and 4.
    result = apply(NearestNeighborMixing(1, Krum(0)), updates(numbers(0, 1, 4, 10)))
    assert result.shares is not None
    assert result.shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


@steady
@given(st.data(), st.integers(0, 2))
def test_nnm_by_definition(data: st.DataObject, byzantine: int) -> None:
    drawn: Drawn = data.draw(rounds(least=2 * byzantine + 1))
    mixed = apply(NearestNeighborMixing(byzantine, Seen()), drawn.updates)
    close(mixed.step, definitions.nearest_neighbor_mixing(drawn.rows, byzantine), drawn.rows)
    assert mixed.memory["weights"].tolist() == drawn.weights.tolist()


def test_nnm_keeps_far_rows_out_of_honest_mixtures() -> None:
    honest = np.random.default_rng(7).normal(size=(5, 3))
    mixed = apply(NearestNeighborMixing(2, Seen()), updates(np.vstack([honest, np.full((2, 3), 1e30)])))
    close(mixed.step[:5], np.repeat(honest.mean(axis=0)[None], 5, axis=0), honest)


@steady
@given(rounds(), st.integers(1, 4), st.integers(0, 5))
def test_bucketing_by_definition(drawn: Drawn, size: int, seed: int) -> None:
    rule, n = Bucketing(size, Seen(), seed), len(drawn.rows)
    memory: Mapping[str, torch.Tensor] = rule.init(flat(drawn.rows.shape[1]))
    for played in range(3):
        step, memory, *_ = rule(drawn.updates, memory)
        order = stream(seed, "bucketing", played).permutation(n).tolist()
        close(step, definitions.bucket_means(drawn.rows, order, size), drawn.rows)
        weights = size * definitions.bucket_means(drawn.weights[:, None], order, size)[:, 0]
        weights[-1] *= (n - 1) % size / size + 1 / size
        assert memory["rule.weights"].tolist() == pytest.approx(weights.tolist())
        assert memory["rule.clients"].tolist() == list(range(-(-n // size)))


def test_buckets_of_every_round_differ_and_replay() -> None:
    rule, round_ = Bucketing(2, Seen()), updates(numbers(*(2.0**k for k in range(8))))
    memory, steps = rule.init(flat(1)), []
    for _ in range(4):
        step, memory, *_ = rule(round_, memory)
        steps.append(tuple(step.flatten().tolist()))
    assert int(memory["round"]) == 4
    assert len(set(steps)) == 4
    again = rule(round_, {"round": torch.tensor(2)})
    assert tuple(again.step.flatten().tolist()) == steps[2]
    other = apply(Bucketing(2, Seen(), seed=1), round_)
    assert tuple(other.step.flatten().tolist()) != steps[0]


def test_bucketing_the_mean_is_the_mean() -> None:
    # Whatever the buckets, and though the last of 3 + 3 + 1 is shorter.
    rows = np.random.default_rng(8).normal(size=(7, 4))
    result = apply(Bucketing(3, Mean()), updates(rows))
    close(result.step, rows.mean(axis=0), rows)
    assert result.shares is not None
    assert result.shares.tolist() == pytest.approx([1 / 7] * 7)


def test_the_inner_rules_memory_is_kept_apart() -> None:
    inner = CenteredClipping(radius=1.0)
    rule = NearestNeighborMixing(1, Bucketing(2, inner))
    rows = np.random.default_rng(9).normal(size=(6, 3))
    memory = rule.init(flat(3))
    assert set(memory) == {"round", "rule.center"}
    result = apply(rule, updates(rows), memory)
    assert torch.equal(result.memory["rule.center"], result.step)
    assert int(result.memory["round"]) == 1
    assert int(memory["round"]) == 0
    nested = Bucketing(1, Bucketing(2, inner))
    twice = apply(nested, updates(rows), apply(nested, updates(rows)).memory)
    assert set(twice.memory) == {"round", "rule.round", "rule.rule.center"}
    assert int(twice.memory["rule.round"]) == 2


def test_nnm_refuses_half_byzantine() -> None:
    with pytest.raises(Refused) as refusal:
        apply(NearestNeighborMixing(2, Median()), updates(numbers(1, 2, 3, 4)))
    assert str(refusal.value) == (
        "nnm refuses n = 4 uploads with byzantine = 2: it needs n >= 2 f + 1 = 5; at n = 4 the largest byzantine is 1"
    )


def test_nnm_refuses_what_its_rule_refuses() -> None:
    with pytest.raises(Refused, match=r"^krum refuses n = 5 uploads with byzantine = 2"):
        NearestNeighborMixing(2, Krum(2)).require(5)


def test_bucketing_refuses_what_its_rule_refuses_of_the_buckets() -> None:
    Bucketing(3, Krum(1)).require(13)
    with pytest.raises(Refused) as refusal:
        apply(Bucketing(3, Krum(1)), updates(numbers(*range(12))))
    assert str(refusal.value) == (
        "bucketing refuses n = 12 uploads with size = 3, which makes 4: "
        "krum refuses n = 4 uploads with byzantine = 1: it needs n >= 2 f + 3 = 5; "
        "at n = 4 the largest byzantine is 0"
    )


@pytest.mark.parametrize("wrapper", [NearestNeighborMixing, Bucketing])
def test_a_rule_inside_sees_the_servers_own_update(wrapper: type) -> None:
    rows = numbers(1, 2, 3, 4, 5)
    own = torch.ones(1)
    inside = apply(wrapper(1, FLTrust()), replace(updates(rows), root=own))
    assert inside.step.norm() == pytest.approx(float(own.norm()))
