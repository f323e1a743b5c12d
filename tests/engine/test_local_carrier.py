"""The local carrier: whose samples are trained on, and whose memory the uploads are, side by side or in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from fedsim.config import TrainingSection
from fedsim.domain import Dataset, Shards
from fedsim.engine.local import LocalCarrier
from tests.engine.beside import ERM, beside, dealt, made, tanh_net

LENGTHS: list[dict[str, Any]] = [
    {"steps": 3},
    {"epochs": 2, "momentum": 0.9},
    {"epochs": 2, "optimizer": "adam"},
    {"algorithm": "fedsgd"},
]
BOTH = pytest.mark.parametrize("batching", ["stacked", "loop"])


def carrier(batching: str, shards: Shards, poisoned: Shards | None = None, **training: Any) -> LocalCarrier:
    """Clients who train the small net, side by side or in turn."""
    model, section = made(tanh_net), TrainingSection(batch_size=4, **training)
    trainer = beside(model, section)[0] if batching == "stacked" else None
    return LocalCarrier(model, shards, poisoned, ERM, section, 0, trainer)


def poisoned_carrier(batching: str, **training: Any) -> LocalCarrier:
    """Three such clients, of whom the first and the last hold poisoned samples too."""
    shards = dealt([9, 7, 14])
    return carrier(batching, shards, flipped(shards, (0, 2)), **training)


def calls(built: LocalCarrier) -> int:
    """How often clients of this carrier were worked on side by side."""
    return len(built.side_by_side.copies.seen) if built.side_by_side else 0  # type: ignore[attr-defined]


def flipped(shards: Shards, clients: tuple[int, ...]) -> Shards:
    """These clients' samples with other labels; client 2 has lost some."""
    parts = {client: shards[client].copy() for client in clients}
    poisoned = {
        client: Dataset(part.inputs[: 5 if client == 2 else None], 2 - part.labels[: 5 if client == 2 else None], 3)
        for client, part in parts.items()
    }
    return Shards.of(poisoned)


@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_both_ways_bring_back_the_same(training: dict[str, Any]) -> None:
    shards, clients = dealt([9, 0, 3, 14, 1, 6]), [0, 1, 3, 4]
    stacked, loop = carrier("stacked", shards, **training), carrier("loop", shards, **training)
    params = loop.model.params
    for round in (1, 2, 3):
        one, other = stacked.train(clients, params, round), loop.train(clients, params, round)
        torch.testing.assert_close(one.rows, other.rows, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.losses, other.losses, rtol=1e-5, atol=1e-6, equal_nan=True)
        for uploads in (one, other):
            assert uploads.clients.tolist() == clients
            assert uploads.examples.tolist() == [9, 0, 14, 1]
            assert uploads.losses.isnan().tolist() == [False, True, False, False]
            assert not uploads.rows[1].any()
            assert uploads.dropped == ()
    assert calls(stacked) > 0


@BOTH
def test_one_client_alone_is_trained_in_turn(batching: str) -> None:
    """A single copy gains nothing, and so nodes of a grid work as ever."""
    built = carrier(batching, dealt([9, 3]), steps=3)
    built.train([1], built.model.params, 1)
    assert calls(built) == 0


@BOTH
def test_no_client_at_all(batching: str) -> None:
    built = carrier(batching, dealt([9, 3]), steps=3)
    uploads = built.train([], built.model.params, 1)
    assert uploads.rows.shape == (0, built.model.layout.size)
    assert len(uploads.losses) == len(uploads.clients) == len(uploads.examples) == 0


@BOTH
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_rounds_draw_batches_of_their_own(batching: str, training: dict[str, Any]) -> None:
    built = carrier(batching, dealt([9, 7, 14]), **training)
    params = built.model.params
    first, second, again = (built.train([0, 1, 2], params, round).rows.clone() for round in (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@BOTH
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_leaves_the_broadcast_and_the_samples_as_they_were(batching: str, training: dict[str, Any]) -> None:
    built = poisoned_carrier(batching, **training)
    params = built.model.params
    kept = [tensor.clone() for tensor in (params, *_samples(built))]
    built.train([0, 1, 2], params, 1)
    built.train([0, 2], params, 1, poisoned=True)
    now = [params, *_samples(built)]
    assert all(torch.equal(one, other) for one, other in zip(kept, now, strict=True))


def _samples(built: LocalCarrier) -> list[torch.Tensor]:
    held = [shards.samples for shards in (built.shards, built.poisoned) if shards is not None]
    return [tensor for samples in held for tensor in (samples.inputs, samples.labels)]


@BOTH
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_uploads_are_nobody_elses_memory(batching: str, training: dict[str, Any]) -> None:
    built = carrier(batching, dealt([9, 7, 14]), **training)
    params = built.model.params
    before = params.clone()
    uploads = built.train([0, 1, 2], params, 1)
    expected = uploads.rows.clone()
    uploads.rows.fill_(7)
    assert torch.equal(params, before)
    assert torch.equal(built.train([0, 1, 2], params, 1).rows, expected)
    assert torch.equal(uploads.rows, torch.full_like(expected, 7))


@BOTH
@pytest.mark.parametrize("kept", ["uploads", "a row", "a transposed view", "an array"])
def test_a_round_leaves_what_is_kept_of_another_as_it_was(batching: str, kept: str) -> None:
    built = carrier(batching, dealt([9, 7, 14]), steps=3)
    params = built.model.params
    rows = built.train([0, 1, 2], params, 1).rows
    held = {"uploads": rows, "a row": rows[1], "a transposed view": rows.T[3:], "an array": rows.numpy()}[kept]
    before = torch.as_tensor(held).clone()
    del rows
    for round in (2, 3):
        built.train([0, 1, 2], params, round)
    assert torch.equal(torch.as_tensor(held), before)


@BOTH
def test_memory_of_a_round_that_is_over_serves_the_next(batching: str) -> None:
    built = carrier(batching, dealt([9, 7, 14]), steps=3)
    params = built.model.params
    first = built.train([0, 1, 2], params, 1).rows.data_ptr()
    assert built.train([0, 1, 2], params, 2).rows.data_ptr() == first


@BOTH
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_poisoned_clients_train_on_their_poisoned_samples(batching: str, training: dict[str, Any]) -> None:
    built = poisoned_carrier(batching, **training)
    params = built.model.params
    honest, crafted = built.train([0, 2], params, 1), built.train([0, 2], params, 1, poisoned=True)
    assert built.poisoned is not None
    expected = carrier("loop", built.poisoned, **training).train([0, 2], params, 1)
    torch.testing.assert_close(crafted.rows, expected.rows, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(crafted.losses, expected.losses, rtol=1e-5, atol=1e-6)
    assert (crafted.rows - honest.rows).abs().amax(dim=1).min() > 1e-3
    assert crafted.examples.tolist() == honest.examples.tolist() == [9, 14], "they claim what they hold"


@BOTH
def test_where_nothing_is_poisoned_they_train_on_their_own(batching: str) -> None:
    built = carrier(batching, dealt([9, 7]), steps=3)
    params = built.model.params
    asked, honest = built.train([0, 1], params, 1, poisoned=True), built.train([0, 1], params, 1)
    assert torch.equal(asked.rows, honest.rows)


@BOTH
def test_the_runs_seed_decides_the_batches(batching: str) -> None:
    built = carrier(batching, dealt([9, 7]), steps=3)
    params = built.model.params
    other = replace(built, seed=1).train([0, 1], params, 1)
    assert not torch.equal(other.rows, built.train([0, 1], params, 1).rows)
