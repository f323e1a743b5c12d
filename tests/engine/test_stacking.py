"""Clients trained side by side do the work of clients trained one after the other: nets, objectives, lengths, sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedsim.config import TrainingSection
from fedsim.engine.copies import LayeredCopies, MappedCopies
from fedsim.models import MODELS, Mlp
from fedsim.objectives.objective import Objective
from tests.engine.beside import (
    EITHER_NET,
    ERM,
    Adversarial,
    Smoothed,
    Task,
    assert_close,
    beside,
    dealt,
    in_turn,
    made,
    nested_net,
    tanh_net,
    together,
    watched_together,
)

steady = settings(deadline=None, derandomize=True, max_examples=60)

SHAPES = {
    "softmax": (1, 8, 8),
    "mlp": (1, 8, 8),
    "lenet5": (1, 28, 28),
    "romoa_mnist": (1, 9, 9),
    "romoa_cifar10": (3, 8, 8),
    "drfl_synthetic": (2,),
    "drfl_mnist": (1, 28, 28),
}
"""A small shape for each model that has copies, be it without its dropout."""

LENGTHS: list[dict[str, Any]] = [
    {"steps": 4},
    {"epochs": 2},
    {"algorithm": "fedsgd"},
    {"steps": 4, "momentum": 0.9},
    {"epochs": 2, "weight_decay": 0.1},
    {"epochs": 3, "momentum": 0.5, "weight_decay": 0.01},
    {"steps": 4, "optimizer": "adam", "learning_rate": 0.01},
    {"epochs": 2, "optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.1},
]


def without_dropout(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same net with nothing in place of its dropout."""

    def built() -> nn.Module:
        layers = build()
        assert isinstance(layers, nn.Sequential)
        return nn.Sequential(*(nn.Identity() if isinstance(layer, nn.Dropout) else layer for layer in layers))

    return built


def test_every_model_but_that_with_buffers_is_among_these() -> None:
    assert {*SHAPES, "resnet18"} == set(MODELS.entries)


@pytest.mark.parametrize(
    "training", [{"algorithm": "fedsgd"}, {"steps": 1}, {"steps": 3}, {"epochs": 1, "momentum": 0.9}], ids=str
)
@pytest.mark.parametrize("name", SHAPES)
def test_models(name: str, training: dict[str, Any]) -> None:
    shape = SHAPES[name]
    build = without_dropout(lambda: MODELS.load(name)().build(shape, 3))
    task = Task(build, dealt([5, 3, 8], shape), TrainingSection(batch_size=4, **training))
    assert_close(together(task), in_turn(task))


@pytest.mark.parametrize("training", LENGTHS[:4], ids=str)
@pytest.mark.parametrize("activation", ["relu", "elu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (7,), (7, 4), (9, 7, 4)], ids=str)
def test_dense_nets(hidden: tuple[int, ...], activation: Any, training: dict[str, Any]) -> None:
    task = Task(
        lambda: Mlp(hidden=hidden, activation=activation).build((1, 4, 4), 3),
        dealt([6, 3, 10, 10], (1, 4, 4)),
        TrainingSection(batch_size=4, **training),
    )
    assert_close(together(task), in_turn(task))


@pytest.mark.parametrize("activation", [nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.ELU(alpha=0.3)], ids=str)
def test_activations_of_own_nets(activation: nn.Module) -> None:
    net = lambda: nn.Sequential(nn.Linear(2, 5, bias=False), activation, nn.Linear(5, 3))  # noqa: E731
    task = Task(net, dealt([6, 3, 10]), TrainingSection(epochs=2, batch_size=4))
    assert_close(together(task), in_turn(task))


@pytest.mark.parametrize("training", LENGTHS, ids=str)
@pytest.mark.parametrize("objective", [ERM, Smoothed(), Adversarial()], ids=lambda objective: type(objective).__name__)
@EITHER_NET
def test_objectives(net: Callable[[], nn.Module], objective: Objective, training: dict[str, Any]) -> None:
    task = Task(net, dealt([6, 3, 10, 1]), TrainingSection(batch_size=4, **training), objective)
    assert_close(together(task), in_turn(task))


def test_the_two_nets_are_of_both_kinds() -> None:
    kinds = [type(beside(made(net), TrainingSection())[1].copies) for net in (tanh_net, nested_net)]
    assert kinds == [LayeredCopies, MappedCopies]


def test_objectives_are_told_apart() -> None:
    """The other way round, so that the test above cannot pass for want of a difference."""
    task = Task(tanh_net, dealt([6, 3, 10]), TrainingSection(steps=3))
    first, *others = (
        together(replace(task, objective=objective)).rows for objective in (ERM, Smoothed(), Adversarial())
    )
    assert all((first - other).abs().max() > 1e-3 for other in others)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 16, 17, 64, 1000])
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_clients_of_very_different_sizes(training: dict[str, Any], batch_size: int) -> None:
    task = Task(tanh_net, dealt([17, 1, 64, 0, 3, 2]), TrainingSection(batch_size=batch_size, **training))
    found, expected = together(task), in_turn(task)
    assert_close(found, expected, 5e-6)
    assert not found.rows[3].any()
    assert found.losses.isnan().tolist() == [client == 3 for client in range(6)]


@pytest.mark.parametrize("training", [training for training in LENGTHS if "epochs" in training], ids=str)
def test_a_client_that_is_done_is_worked_on_no_more(training: dict[str, Any]) -> None:
    section = TrainingSection(batch_size=4, **training)
    _, seen = watched_together(Task(tanh_net, dealt([17, 1, 64, 0, 3, 2]), section))
    # 5, 1, 16, 0, 1 and 1 batches an epoch: clients 0 and 2 outlast the others, then client 2 alone works on.
    epochs = training["epochs"]
    assert [copies for copies, _ in seen] == [5] * epochs + [2] * (4 * epochs) + [1] * (11 * epochs)
    assert all(samples == 4 * copies for copies, samples in seen)


STEPS = st.one_of(
    st.builds(lambda steps: {"steps": steps}, st.integers(1, 5)),
    st.builds(lambda epochs: {"epochs": epochs}, st.integers(1, 3)),
)
HOW = st.one_of(
    st.just({"algorithm": "fedsgd"}),
    st.builds(lambda length, decay: {**length, "weight_decay": decay}, STEPS, st.sampled_from([0.0, 0.1])),
    st.builds(lambda length, momentum: {**length, "momentum": momentum}, STEPS, st.sampled_from([0.5, 0.9])),
    st.builds(lambda length: {**length, "optimizer": "adam", "learning_rate": 0.01}, STEPS),
)


@steady
@given(st.lists(st.integers(0, 20), min_size=1, max_size=9).filter(any), HOW, st.integers(1, 25), st.integers(0, 99))
def test_any_clients(sizes: list[int], training: dict[str, Any], batch_size: int, seed: int) -> None:
    task = Task(tanh_net, dealt(sizes, seed=seed), TrainingSection(batch_size=batch_size, **training), seed=seed)
    assert_close(together(task), in_turn(task), 5e-6)


@EITHER_NET
@pytest.mark.parametrize("training", LENGTHS, ids=str)
def test_one_client_alone(net: Callable[[], nn.Module], training: dict[str, Any]) -> None:
    task = Task(net, dealt([11]), TrainingSection(batch_size=4, **training))
    assert_close(together(task), in_turn(task))


def test_nobody_has_samples() -> None:
    found = together(Task(tanh_net, dealt([0, 0, 0]), TrainingSection(steps=3)))
    assert not found.rows.any()
    assert found.losses.isnan().all()


@pytest.mark.parametrize("sizes", [[40] * 100, [5, 0, 40, 1, 7] * 4], ids=["equal", "different"])
def test_chosen_clients_get_their_own_rows(sizes: list[int]) -> None:
    clients = [1, 4, 5, 11, 13, 19]
    everybody = Task(tanh_net, dealt(sizes), TrainingSection(epochs=1, batch_size=4))
    some = replace(everybody, clients=clients)
    found = together(some)
    assert_close(found, in_turn(some))
    torch.testing.assert_close(found.rows, together(everybody).rows[clients], rtol=1e-5, atol=1e-6)


def test_leaves_the_data_and_the_global_generator_as_they_were() -> None:
    shards = dealt([6, 3, 10])
    before = shards.samples.inputs.clone(), shards.samples.labels.clone(), torch.get_rng_state()
    for training in LENGTHS:
        together(Task(tanh_net, shards, TrainingSection(batch_size=4, **training), Adversarial()))
    assert torch.equal(shards.samples.inputs, before[0])
    assert torch.equal(shards.samples.labels, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
