"""A lookahead upload is the upload of a client that stops there: one after the other, side by side, poisoned or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.config import TrainingSection
from fedsim.engine import stacking
from fedsim.engine.local import LocalCarrier
from fedsim.training import lookaheads, paced
from tests.engine.ahead import (
    BOTH,
    CLIENTS,
    SIZES,
    apart,
    carrier,
    convolving_net,
    moments,
    normalised_net,
)
from tests.engine.beside import EITHER_NET, dealt, tanh_net
from tests.engine.builders import noisy_net
from tests.engine.test_local_carrier import flipped

OPTIMIZERS: list[dict[str, Any]] = [
    {"learning_rate": 0.3},
    {"learning_rate": 0.3, "momentum": 0.9, "weight_decay": 0.01},
    {"learning_rate": 0.02, "optimizer": "adam"},
]
STEPS = [(5, 1), (5, 2), (6, 2), (5, 3), (6, 3), (2, 2), (3, 7)]
"""Local steps, and every how many there is a lookahead."""

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (tanh_net, (2,)),
    "dropout": (noisy_net, (1, 1, 2)),
    "batch normalisation": (normalised_net, (2,)),
    "convolution": (convolving_net, (1, 1, 2)),
}


def assert_prefixes(built: LocalCarrier, starts: Tensor | None, poisoned: bool = False, exact: bool = True) -> None:
    """Every upload is that of clients who take fewer steps."""
    training = paced(built.training, built.pace) if poisoned else built.training
    params = built.model.params
    found = built.train(CLIENTS, params, 2, poisoned, starts)
    ends = [*lookaheads(training), training.steps]
    assert len(found.lookahead) == len(ends) - 1
    for rows, steps in zip(moments(found), ends, strict=True):
        shorter = training.model_copy(update={"steps": steps, "lookahead_every": 0})
        expected = replace(built, training=shorter, pace=1, side_by_side=None).train(
            CLIENTS, params, 2, poisoned, starts
        )
        assert expected.lookahead == ()
        if exact:
            assert torch.equal(rows, expected.rows)
        else:
            torch.testing.assert_close(rows, expected.rows, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"steps": 4}, ()),
        ({"steps": 4, "lookahead_every": 0}, ()),
        ({"steps": 4, "lookahead_every": 1}, (1, 2, 3)),
        ({"steps": 4, "lookahead_every": 2}, (2,)),
        ({"steps": 4, "lookahead_every": 3}, (3,)),
        ({"steps": 4, "lookahead_every": 4}, ()),
        ({"steps": 4, "lookahead_every": 9}, ()),
        ({"steps": 7, "lookahead_every": 3}, (3, 6)),
        ({"lookahead_every": 1}, ()),
        ({"epochs": 3}, ()),
        ({"epochs": 3, "lookahead_every": 0}, ()),
        ({"algorithm": "fedsgd", "lookahead_every": 1}, ()),
    ],
)
def test_when_by_hand(training: dict[str, Any], expected: tuple[int, ...]) -> None:
    """The last step is the sync's."""
    assert lookaheads(TrainingSection(**training)) == expected


@pytest.mark.parametrize(("steps", "every"), STEPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("net", NETS)
def test_one_after_the_other_to_the_byte(net: str, optimizer: dict[str, Any], steps: int, every: int) -> None:
    build, shape = NETS[net]
    training = TrainingSection(steps=steps, lookahead_every=every, batch_size=4, **optimizer)
    built = carrier("loop", build, dealt(SIZES, shape), training)
    for starts in (None, apart(built, len(CLIENTS))):
        assert_prefixes(built, starts)


@pytest.mark.parametrize(("steps", "every"), STEPS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@EITHER_NET
def test_side_by_side(net: Callable[[], nn.Module], optimizer: dict[str, Any], steps: int, every: int) -> None:
    training = TrainingSection(steps=steps, lookahead_every=every, batch_size=4, **optimizer)
    built = carrier("stacked", net, dealt(SIZES), training)
    for starts in (None, apart(built, len(CLIENTS))):
        assert_prefixes(built, starts, exact=False)
    assert built.side_by_side is not None
    assert built.side_by_side.copies.seen, "they were"  # type: ignore[attr-defined]


@pytest.mark.parametrize("entries", [1, 60, 1 << 19])
@EITHER_NET
def test_in_blocks_of_any_size(net: Callable[[], nn.Module], entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stacking.ENTRIES, "cpu", entries)
    training = TrainingSection(steps=3, lookahead_every=1, batch_size=4)
    stacked, loop = (carrier(batching, net, dealt(SIZES), training) for batching in ("stacked", "loop"))
    for starts in (None, apart(loop, len(CLIENTS))):
        one, other = (built.train(CLIENTS, loop.model.params, 1, starts=starts) for built in (stacked, loop))
        for rows, expected in zip(moments(one), moments(other), strict=True):
            torch.testing.assert_close(rows, expected, rtol=1e-5, atol=2e-6)


@BOTH
def test_looking_ahead_changes_nothing_else(batching: str) -> None:
    blind = TrainingSection(steps=5, batch_size=4, momentum=0.5)
    watched = blind.model_copy(update={"lookahead_every": 2})
    one, other = (carrier(batching, tanh_net, dealt(SIZES), training) for training in (blind, watched))
    params = one.model.params
    found, expected = other.train(CLIENTS, params, 1), one.train(CLIENTS, params, 1)
    assert torch.equal(found.rows, expected.rows)
    assert torch.equal(found.losses.nan_to_num(), expected.losses.nan_to_num())
    assert torch.equal(found.examples, expected.examples)


@BOTH
def test_a_client_without_samples_stays_where_it_starts(batching: str) -> None:
    training = TrainingSection(steps=3, lookahead_every=1, batch_size=4)
    built = carrier(batching, tanh_net, dealt(SIZES), training)
    params, starts = built.model.params, apart(built, len(CLIENTS))
    for rows in moments(built.train(CLIENTS, params, 1)):
        assert not rows[1].any()
    found = built.train(CLIENTS, params, 1, starts=starts)
    for rows in moments(found):
        assert torch.equal(rows[1], starts[1] - params)
    assert found.losses.isnan().tolist() == [False, True, False, False]


@BOTH
def test_nobody_at_all(batching: str) -> None:
    training = TrainingSection(steps=3, lookahead_every=1)
    built = carrier(batching, tanh_net, dealt(SIZES), training)
    found = built.train([], built.model.params, 1)
    assert [rows.shape for rows in moments(found)] == [(0, built.model.layout.size)] * 3


@BOTH
@pytest.mark.parametrize("pace", [1, 3])
def test_poisoned_clients_are_seen_at_the_moments_of_honest_ones(batching: str, pace: int) -> None:
    """After so many times as many steps."""
    training = TrainingSection(steps=5, lookahead_every=2, batch_size=4)
    shards = dealt([9, 7, 14, 5, 6])
    built = carrier(batching, tanh_net, shards, training, poisoned=flipped(shards, (0, 1, 3, 4)), pace=pace)
    assert lookaheads(paced(training, pace)) == (2 * pace, 4 * pace)
    for starts in (None, apart(built, len(CLIENTS))):
        assert_prefixes(built, starts, poisoned=True, exact=batching == "loop")
        honest = built.train(CLIENTS, built.model.params, 2, starts=starts)
        crafted = built.train(CLIENTS, built.model.params, 2, True, starts)
        for rows, others in zip(moments(honest), moments(crafted), strict=True):
            assert bool(((rows - others).abs().amax(dim=1) > 1e-4).all()), "other samples, in memory of their own"


def test_a_batch_that_batchnorm_passes_over_is_looked_at_all_the_same() -> None:
    training = TrainingSection(steps=3, lookahead_every=1, batch_size=4)
    built = carrier("loop", normalised_net, dealt(SIZES), training)
    assert all(not rows[3].any() for rows in moments(built.train(CLIENTS, built.model.params, 1)))
