"""Worlds to play rounds in: one of stubs that can be computed by hand, and one whose clients really train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from numpy.random import Generator
from torch import Tensor, nn

from clients.adversary import Adversary
from clients.none import NoAttack
from fedsim.config import ServerSection, TrainingSection
from fedsim.domain import (
    Aggregate,
    Aggregator,
    Attack,
    Dataset,
    Drop,
    Knowledge,
    Layout,
    Measure,
    Memory,
    Poison,
    Refused,
    Shards,
    Targeted,
    Updates,
    Uploads,
    View,
)
from fedsim.engine.forging import Forger
from fedsim.engine.local import LocalCarrier
from fedsim.engine.round import World
from fedsim.objectives.erm import Erm
from fedsim.seeds import stream, torch_stream
from fedsim.vectors import FlatModule

Row = Sequence[float]


def uploads(rows: Sequence[Row], examples: Sequence[int] | None = None, first: int = 0) -> Uploads:
    """What clients ``first``, ``first`` + 1, ... send."""
    n = len(rows)
    return Uploads(
        rows=torch.tensor(rows, dtype=torch.float32),
        examples=torch.tensor([1] * n if examples is None else examples),
        losses=torch.arange(first, first + n, dtype=torch.float32),
        clients=torch.arange(first, first + n),
    )


def flat(d: int, buffers: int = 0) -> Layout:
    """A layout of d weights and some buffers."""
    return Layout(("weight", "statistics"), ((d,), (buffers,)), d)


@dataclass
class StubCarrier:
    """Clients whose uploads are written down; those without one are absent. Losses are squared ids."""

    rows: Mapping[int, Row]
    poisoned: Mapping[int, Row] = field(default_factory=dict)
    examples: Mapping[int, int] = field(default_factory=dict)
    calls: list[tuple[tuple[int, ...], int, bool]] = field(default_factory=list)
    sent: list[Uploads] = field(default_factory=list)

    def train(
        self,
        clients: Sequence[int],
        params: Tensor,
        round: int,
        poisoned: bool = False,
        starts: Tensor | None = None,
    ) -> Uploads:
        """What is written down."""
        self.calls.append((tuple(clients), round, poisoned))
        rows = self.poisoned if poisoned else self.rows
        there = [client for client in clients if client in rows]
        brought = Uploads(
            rows=torch.tensor([list(rows[client]) for client in there], dtype=torch.float32),
            examples=torch.tensor([self.examples.get(client, 1) for client in there]),
            losses=torch.tensor(there, dtype=torch.float32).square(),
            clients=torch.tensor(there),
            dropped=tuple(Drop(client, "absent") for client in clients if client not in rows),
        )
        self.sent.append(brought)
        return brought


@dataclass(frozen=True)
class StubRule:
    """The weighted mean, which counts its rounds and keeps what it saw; refuses fewer than ``least``."""

    least: int = 1
    seen: list[Updates] = field(default_factory=list)

    def require(self, n: int) -> None:
        """At least ``least``."""
        if n < self.least:
            raise Refused(f"stub refuses n = {n}")

    def init(self, layout: Layout) -> Memory:
        """No rounds yet."""
        return {"rounds": torch.zeros(1)}

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """The weighted mean."""
        self.require(len(updates))
        self.seen.append(updates)
        shares = updates.weights / updates.weights.sum()
        return Aggregate(shares @ updates.deltas, {"rounds": memory["rounds"] + 1}, shares)


@dataclass(frozen=True)
class StubAttack:
    """Uploads ``value`` everywhere and keeps what it was shown; refuses fewer than ``least`` attackers."""

    needs: ClassVar[Knowledge] = "own"
    value: float = -9.0
    least: int = 0
    shown: list[View] = field(default_factory=list)

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """At least ``least``."""
        if f < self.least:
            raise Refused("too few")

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """The value."""
        self.shown.append(view)
        return torch.full_like(view.own, self.value)


def stub_world(
    rows: Mapping[int, Row] | Sequence[Row],
    *,
    layout: Layout | None = None,
    clients: int | None = None,
    chosen: int | None = None,
    adversary: Adversary | None = None,
    rule: Aggregator | None = None,
    server: Mapping[str, Any] | None = None,
    seed: int = 0,
    evaluate: Callable[[Tensor], Mapping[str, Measure]] = lambda params: {"loss": 0.5, "accuracy": 0.25},
    evaluated: Callable[[int], bool] = lambda round: True,
    **carrier: Any,
) -> World:
    """A world of stubs: ``rows`` by client, all of whom are honest and chosen unless said."""
    by_client = rows if isinstance(rows, Mapping) else dict(enumerate(rows))
    count = max(by_client) + 1 if clients is None else clients
    adversary = adversary or Adversary(NoAttack())
    stub = StubCarrier(by_client, **carrier)
    layout = layout or flat(len(next(iter(by_client.values()))))
    rule = rule or StubRule()
    own = {client: toy_shard(client) for client in adversary.clients}
    return World(
        seed=seed,
        clients=count,
        chosen=count if chosen is None else chosen,
        layout=layout,
        carrier=stub,
        forger=Forger(adversary, stub, own, layout, rule, seed),
        rule=rule,
        server=ServerSection(**(server or {})),
        evaluate=evaluate,
        evaluated=evaluated,
    )


def toy_shard(client: int, seed: int = 0, samples: int = 12) -> Dataset:
    """A client's samples: images of two pixels in three classes."""
    rng = stream(seed, "toy", client)
    inputs = torch.from_numpy(rng.standard_normal((samples, 1, 1, 2)).astype("float32"))
    return Dataset(inputs, torch.from_numpy(rng.integers(3, size=samples)), 3)


def noisy_net() -> nn.Module:
    """A small net that draws random numbers in training."""
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def training_world(
    shards: Sequence[Dataset], attack: Attack, attackers: tuple[int, ...], knowledge: Knowledge = "own"
) -> tuple[World, StubRule, Tensor]:
    """A world whose clients train a small net with dropout; its rule, and its initial model."""
    with torch_stream(0, "toy"):
        model = FlatModule(noisy_net())
    rng = stream(0, "toy", "poison")
    poison = attack.poison if isinstance(attack, Poison) else None
    goal = attack.goal(toy_shard(99), rng) if isinstance(attack, Targeted) else None
    rule = StubRule()
    carrier = LocalCarrier(
        model=model,
        shards=Shards.of(dict(enumerate(shards))),
        poisoned=Shards.of({client: poison(shards[client], rng, goal) for client in attackers}) if poison else None,
        objective=Erm(),
        training=TrainingSection(steps=2, batch_size=5),
        seed=0,
        pace=getattr(attack, "pace", 1),
    )
    own = {client: shards[client] for client in attackers}
    world = World(
        seed=0,
        clients=len(shards),
        chosen=len(shards),
        layout=model.layout,
        carrier=carrier,
        forger=Forger(Adversary(attack, attackers, knowledge), carrier, own, model.layout, rule, 0),
        rule=rule,
        server=ServerSection(),
        evaluate=lambda params: {},
        evaluated=lambda round: False,
    )
    return world, rule, model.params
