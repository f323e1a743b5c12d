"""Clients that keep their models and move by a rate: Algorithm 1 of Romoa, played slowly and by fedsim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.build import experiment
from fedsim.config import TrainingSection
from fedsim.engine.batching import batching_of, copies_for
from fedsim.engine.copies import LayeredCopies, MappedCopies
from fedsim.engine.local import LocalCarrier
from fedsim.engine.round import World, play_round
from fedsim.engine.stacking import SideBySide
from tests.engine.ahead import convolving_net, normalised_net
from tests.engine.beside import EITHER_NET, ERM, dealt, made, tanh_net
from tests.engine.builders import stub_world
from tests.engine.moving import ROUNDS, TRAINING, moving, played_on, slowly
from tests.flower.federations import configured, played


def assert_as_slowly(world: World, params: Tensor, build: Callable[[], nn.Module]) -> None:
    """The server's model, and every client's."""
    carrier = world.carrier
    assert isinstance(carrier, LocalCarrier)
    rounds = [world.sample(number) for number in range(1, ROUNDS + 1)]
    average, own = slowly(world.moving_rate, build, carrier.training, carrier.shards, rounds)
    state, _ = played_on(world, params)[-1]
    assert state.kept is not None
    assert float((average - params).norm()) > 0.1, "or standing still would do"
    torch.testing.assert_close(state.params, average, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state.kept, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chosen", [None, 2])
@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("net", [tanh_net, normalised_net], ids=["plain", "with statistics"])
def test_by_definition(net: Callable[[], nn.Module], rate: float, chosen: int | None) -> None:
    world, params = moving(rate, net, chosen)
    assert_as_slowly(world, params, net)


@pytest.mark.parametrize(
    "more",
    [{"steps": 1}, {"momentum": 0.9}, {"optimizer": "adam", "learning_rate": 0.05}, {"epochs": 2, "steps": None}],
)
@pytest.mark.parametrize("batching", ["stacked", "loop"])
@EITHER_NET
def test_by_definition_however_they_train(net: Callable[[], nn.Module], batching: str, more: dict[str, Any]) -> None:
    training = TrainingSection.model_validate({**TRAINING.model_dump(), **more})
    world, params = moving(0.3, net, 4, batching, training)
    assert_as_slowly(world, params, net)
    trainer = world.carrier.side_by_side  # type: ignore[attr-defined]
    assert batching == "loop" or trainer.copies.seen


def test_the_rate_matters() -> None:
    """The other way round, so that the tests above cannot pass for want of a difference."""
    ends = [played_on(*moving(rate))[-1][0].params for rate in (0.2, 0.5, 0.9, 1.0)]
    for place, end in enumerate(ends):
        assert all(float((end - other).norm()) > 1e-3 for other in ends[:place])


def test_by_hand() -> None:
    # Both start at 10; the first round brings (1, 3): the server is at 12, the clients at 11 and 13.
    # At rate 0.25 they move to 11.25 and 12.75, and their next uploads are measured from 12.
    world = replace(stub_world([[1.0], [3.0]]), moving_rate=0.25)
    state = world.start(torch.tensor([10.0]))
    assert state.kept is not None
    assert state.kept.tolist() == [[10], [10]]
    assert world.starts(state, [0, 1]).tolist() == [[10], [10]]  # type: ignore[union-attr]
    state, _ = play_round(state, world)
    assert (state.params.tolist(), state.kept.tolist()) == ([12], [[11], [13]])  # type: ignore[union-attr]
    assert world.starts(state, [0, 1]).tolist() == [[11.25], [12.75]]  # type: ignore[union-attr]
    assert world.starts(state, [1]).tolist() == [[12.75]]  # type: ignore[union-attr]


def test_a_rate_of_one_is_none_at_all() -> None:
    named, left_out = (experiment(configured(training=training)) for training in ({"moving_rate": 1.0}, {}))
    assert named.state.kept is None
    assert named.world.starts(named.state, [0, 1]) is None
    found, records = played(named)
    expected, others = played(left_out)
    assert torch.equal(found, expected)
    assert repr(records) == repr(others)


def test_a_rate_just_below_one_is_nearly_that() -> None:
    near, one = (played_on(*moving(rate))[-1][0].params for rate in (1 - 1e-6, 1.0))
    torch.testing.assert_close(near, one, rtol=1e-4, atol=1e-5)


def test_convolutions_of_clients_apart_are_mapped() -> None:
    """Layer by layer they would have to be equal copies, which one step from one model would make them."""
    model = made(convolving_net)
    one, apart = (TrainingSection(steps=1, moving_rate=rate) for rate in (1.0, 0.5))
    assert isinstance(copies_for(model.module, one, model.memory.device), LayeredCopies)
    found = batching_of(model, ERM, apart, dealt([5], (1, 1, 2)).samples)
    assert found.together is not None
    assert isinstance(found.together.copies, MappedCopies)
    assert found.together.possible(alike=False)
    assert not found.pays, "on a CPU"


def test_equal_copies_are_not_made_of_clients_that_start_apart() -> None:
    model, shards = made(convolving_net), dealt([5, 7], (1, 1, 2))
    one = TrainingSection(steps=1, batch_size=4)
    layered = copies_for(model.module, one, model.memory.device)
    assert isinstance(layered, LayeredCopies)
    built = LocalCarrier(model, shards, None, ERM, one, 0, SideBySide(layered, model.layout, ERM, one))
    params = model.params
    starts = torch.stack([params, 2 * params])
    found, expected = (it.train([0, 1], params, 1, starts=starts) for it in (built, replace(built, side_by_side=None)))
    assert torch.equal(found.rows, expected.rows)
    assert float((found.rows[1] - found.rows[0]).norm()) > 0.1
