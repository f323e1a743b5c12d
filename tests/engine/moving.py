"""Algorithm 1 of Romoa, played slowly with torch alone, and worlds of fedsim's that should end where it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from clients.adversary import Adversary
from clients.none import NoAttack
from fedsim.config import ServerSection, TrainingSection
from fedsim.domain import Round, ServerState, Shards
from fedsim.engine.forging import Forger
from fedsim.engine.local import LocalCarrier
from fedsim.engine.round import World, play_round
from fedsim.seeds import stream
from fedsim.training import batches
from tests.engine.beside import ERM, beside, dealt, made, tanh_net
from tests.engine.builders import StubRule

SIZES = [9, 0, 3, 14, 6]
IDLE = 1
"""The client without samples: it only moves."""

ROUNDS = 4
TRAINING = TrainingSection(steps=3, batch_size=4, learning_rate=0.5)
SERVER = ServerSection(buffers="mean")


def moving(
    rate: float,
    build: Callable[[], nn.Module] = tanh_net,
    chosen: int | None = None,
    batching: str = "loop",
    training: TrainingSection = TRAINING,
) -> tuple[World, Tensor]:
    """A world of clients that move so, and the first model."""
    model, shards = made(build), dealt(SIZES)
    training = training.model_copy(update={"moving_rate": rate})
    trainer = beside(model, training)[0] if batching == "stacked" else None
    carrier = LocalCarrier(model, shards, None, ERM, training, 0, trainer)
    world = World(
        seed=0,
        clients=len(SIZES),
        chosen=chosen or len(SIZES),
        layout=model.layout,
        carrier=carrier,
        forger=Forger(Adversary(NoAttack()), carrier, {}, model.layout, None, 0),
        rule=StubRule(),
        server=SERVER,
        evaluate=lambda params: {},
        evaluated=lambda round: False,
        moving_rate=rate,
    )
    return world, model.params


def slowly(
    rate: float, build: Callable[[], nn.Module], training: TrainingSection, shards: Shards, rounds: Sequence[list[int]]
) -> tuple[Tensor, Tensor]:
    """Algorithm 1 with torch alone: the server's model and those of all clients, after rounds with these clients."""
    module = made(build).module
    first = vector(module)
    own, average = first.repeat(len(shards), 1), first
    for number, chosen in enumerate(rounds, start=1):
        for client in chosen:
            fill(module, own[client] - rate * (own[client] - average))
            train(module, shards, client, training, number)
            own[client] = vector(module)
        average = own[chosen].mean(dim=0)
    return average, own


def train(module: nn.Module, shards: Shards, client: int, training: TrainingSection, round: int) -> None:
    """A client's steps."""
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    more = {"momentum": training.momentum} if training.optimizer == "sgd" else {}
    optimizer = kinds[training.optimizer](module.parameters(), lr=training.learning_rate, **more)
    own = shards[client].copy()
    module.train()
    drawn = batches(len(own), training, stream(0, "round", round, "client", client, "batches")) if len(own) else ()
    for batch in drawn:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(own.inputs[batch]), own.labels[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def tensors(module: nn.Module) -> list[Tensor]:
    """Weights, then statistics."""
    return [*module.parameters(), *(buffer for buffer in module.buffers() if buffer.is_floating_point())]


def vector(module: nn.Module) -> Tensor:
    """All of them as one."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors(module)]).clone()


def fill(module: nn.Module, values: Tensor) -> None:
    """The other way round."""
    held = tensors(module)
    with torch.no_grad():
        for tensor, part in zip(held, torch.split(values, [tensor.numel() for tensor in held]), strict=True):
            tensor.copy_(part.view(tensor.shape))


def played_on(world: World, params: Tensor, rounds: int = ROUNDS) -> list[tuple[ServerState, Round | None]]:
    """The state before the first round and after each."""
    states: list[tuple[ServerState, Round | None]] = [(world.start(params), None)]
    for _ in range(rounds):
        states.append(play_round(states[-1][0], world))
    return states
