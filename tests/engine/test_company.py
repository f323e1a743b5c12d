"""Who is trained beside a client, and in which block, leaves its upload as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fedsim.config import TrainingSection
from fedsim.engine import stacking
from fedsim.models import Mlp, Softmax
from tests.engine.beside import (
    EITHER_NET,
    Adversarial,
    Task,
    Work,
    assert_close,
    dealt,
    in_turn,
    made,
    tanh_net,
    together,
    watched_together,
)

SHAPE = (1, 8, 8)
NETS: dict[str, Callable[[], nn.Module]] = {
    "softmax": lambda: Softmax().build(SHAPE, 10),
    "relu": lambda: Mlp().build(SHAPE, 10),
    "tanh": lambda: Mlp(hidden=(32, 8), activation="tanh").build(SHAPE, 10),
}
"""Nets without ELU, whose gradient CPUs round otherwise at the edges of a tensor."""

LENGTHS: list[dict[str, Any]] = [
    {"steps": 3},
    {"steps": 3, "momentum": 0.9, "weight_decay": 0.01},
    {"epochs": 2, "optimizer": "adam", "learning_rate": 0.01},
    {"algorithm": "fedsgd"},
]


@pytest.mark.parametrize("k", [1, 2, 7, 100])
@pytest.mark.parametrize("training", LENGTHS, ids=str)
@pytest.mark.parametrize("net", NETS)
def test_full_batches_give_the_same_bytes_as_a_client_on_its_own(net: str, training: dict[str, Any], k: int) -> None:
    """So nodes of a grid, who train one client each, end with the model of a carrier that trains all."""
    task = Task(NETS[net], dealt([32] * k, SHAPE, 10), TrainingSection(batch_size=16, **training))
    found, expected = together(task), in_turn(task)
    assert torch.equal(found.rows, expected.rows)
    torch.testing.assert_close(found.losses, expected.losses, rtol=1e-6, atol=0)


def in_blocks(monkeypatch: pytest.MonkeyPatch, entries: int, task: Task) -> tuple[Work, list[tuple[int, int]]]:
    """The task in blocks of at most so many entries; and the copies and samples of each forward pass."""
    monkeypatch.setattr(stacking, "ENTRIES", {"cpu": entries})
    return watched_together(task)


@pytest.mark.parametrize(
    ("entries", "blocks"),
    # 33 weights and 4 samples of 2 numbers are 41 entries a client.
    [(1, [1] * 10), (81, [1] * 10), (82, [2] * 5), (123, [2, 3, 2, 3]), (409, [5, 5]), (410, [10]), (10**9, [10])],
)
@EITHER_NET
def test_a_block_holds_what_it_may_and_blocks_are_nearly_equal(
    monkeypatch: pytest.MonkeyPatch, net: Callable[[], nn.Module], entries: int, blocks: list[int]
) -> None:
    task = Task(net, dealt([4] * 10), TrainingSection(steps=1, batch_size=100))
    found, seen = in_blocks(monkeypatch, entries, task)
    assert [copies for copies, _ in seen] == blocks
    assert_close(found, in_turn(task))


@pytest.mark.parametrize("entries", [1, 100, 250])
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_blocks_of_clients_of_different_sizes(
    monkeypatch: pytest.MonkeyPatch, training: dict[str, Any], entries: int
) -> None:
    task = Task(tanh_net, dealt([17, 1, 64, 0, 3, 2, 9]), TrainingSection(batch_size=5, **training), Adversarial())
    found, seen = in_blocks(monkeypatch, entries, task)
    assert max(copies for copies, _ in seen) < 6
    assert_close(found, in_turn(task))


@pytest.mark.parametrize(
    ("training", "passes"),
    # Clients 0 and 2 take 4 batches of 4, the others 1; or everybody takes 3, of all they hold.
    [({"epochs": 1, "batch_size": 4}, [(2, 8)] * 5), ({"steps": 3, "batch_size": 99}, [(2, 32)] * 3 + [(2, 8)] * 3)],
    ids=str,
)
def test_clients_with_as_much_to_do_share_a_block(
    monkeypatch: pytest.MonkeyPatch, training: dict[str, Any], passes: list[tuple[int, int]]
) -> None:
    """Or a block would wait for its slowest, with batches filled up for the others."""
    entries = 2 * (made(tanh_net).layout.size + 2 * 16)
    _, seen = in_blocks(monkeypatch, entries, Task(tanh_net, dealt([16, 4, 16, 4]), TrainingSection(**training)))
    assert seen == passes


@EITHER_NET
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_what_is_no_number_stays_with_its_client(training: dict[str, Any], net: Callable[[], nn.Module]) -> None:
    """Clients 0 and 3 hold such samples; the others' batches are filled up beside theirs."""
    shards = dealt([17, 5, 3, 6])
    for client in (0, 3):
        shards.samples.inputs[shards.places[client]] = torch.tensor([torch.nan, torch.inf])
    task = Task(net, shards, TrainingSection(batch_size=4, **training))
    found, expected = together(task), in_turn(task)
    assert found.rows.isnan().any(dim=1).tolist() == [True, False, False, True]
    assert_close(Work(found.rows[1:3], found.losses[1:3]), Work(expected.rows[1:3], expected.losses[1:3]))
