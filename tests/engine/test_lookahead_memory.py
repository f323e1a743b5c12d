"""The memory that lookahead uploads are written into: whose it is, what it held, and when it is used again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fedsim.config import TrainingSection
from fedsim.training import train_client
from tests.engine.ahead import BOTH, CLIENTS, SIZES, apart, carrier, moments
from tests.engine.beside import ERM, dealt, made, nested_net, tanh_net
from tests.engine.builders import toy_shard


@BOTH
@pytest.mark.parametrize("sizes", [[0, 0, 0, 0, 0], [9, 0, 3, 14, 1]], ids=["nobody has samples", "some have"])
def test_what_the_memory_held_does_not_matter(batching: str, sizes: list[int]) -> None:
    training = TrainingSection(steps=3, lookahead_every=1, batch_size=4)
    built = carrier(batching, tanh_net, dealt(sizes), training)
    params, starts = built.model.params, apart(built, len(CLIENTS))
    expected = [rows.clone() for rows in moments(built.train(CLIENTS, params, 1, starts=starts))]
    for rows in moments(built.train(CLIENTS, params, 2, starts=starts)):
        rows.fill_(torch.nan)
    del rows
    for rows, before in zip(moments(built.train(CLIENTS, params, 1, starts=starts)), expected, strict=True):
        assert torch.equal(rows, before)


@BOTH
def test_each_moment_has_memory_of_its_own_that_serves_the_next_round(batching: str) -> None:
    training = TrainingSection(steps=4, lookahead_every=1, batch_size=4)
    built = carrier(batching, tanh_net, dealt(SIZES), training)
    params = built.model.params
    places = [rows.data_ptr() for rows in moments(built.train(CLIENTS, params, 1))]
    assert len(set(places)) == 4
    found = built.train(CLIENTS, params, 2)
    assert [rows.data_ptr() for rows in moments(found)] == places
    kept, before = found.lookahead[1], found.lookahead[1].clone()
    del found
    built.train(CLIENTS, params, 3)
    assert torch.equal(kept, before), "what is still looked at is left alone"


@BOTH
def test_leaves_the_broadcast_and_the_starts_as_they_were(batching: str) -> None:
    training = TrainingSection(steps=3, lookahead_every=1, batch_size=4, momentum=0.9)
    built = carrier(batching, tanh_net, dealt(SIZES), training)
    params, starts = built.model.params, apart(built, len(CLIENTS))
    before = params.clone(), starts.clone()
    for rows in moments(built.train(CLIENTS, params, 1, starts=starts)):
        rows.fill_(7)
    assert torch.equal(params, before[0])
    assert torch.equal(starts, before[1])


def one_client(training: TrainingSection, watched: Sequence[Tensor]) -> Tensor:
    model = made(nested_net)
    shard = replace(toy_shard(0), inputs=toy_shard(0).inputs.flatten(1))
    return train_client(model, model.params, shard, ERM, training, 0, "client", watched=watched)[0]


def test_memory_for_another_number_of_moments_is_an_error() -> None:
    training = TrainingSection(steps=4, lookahead_every=1)
    size = made(nested_net).layout.size
    for count in (1, 2, 4):
        with pytest.raises(ValueError, match="zip"):
            one_client(training, [torch.empty(size) for _ in range(count)])
    watched = [torch.empty(size) for _ in range(3)]
    assert torch.equal(one_client(training, watched), one_client(training, ()))
