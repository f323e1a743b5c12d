"""Rules that watch, and clients whose ways are written down, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from fedsim.domain import Aggregate, Drop, Layout, Memory, Refused, Updates, Uploads
from fedsim.engine.round import World
from fedsim.tables import Settings
from tests.engine.builders import StubRule, stub_world

Way = Sequence[Sequence[float]]
"""A client's uploads of a round: those ahead, in order, and at last the sync's."""


@dataclass(frozen=True)
class Trailing(Settings):
    """Steps by the mean of a sync, pulled by a trail of all that it has ever seen, in which clients count by their ids.

    What is not finite is no part of the trail.
    """

    least: int = 1

    def require(self, n: int) -> None:
        """At least ``least``."""
        if n < self.least:
            raise Refused(f"trailing refuses n = {n}")

    def init(self, layout: Layout) -> Memory:
        """Nothing seen."""
        return {"trail": torch.zeros(layout.weights), "looks": torch.zeros(1, dtype=torch.int64)}

    def observe(self, updates: Updates, memory: Memory) -> Memory:
        """A longer trail."""
        self.require(len(updates))
        assert updates.params is not None
        finite = updates.deltas.isfinite().all(dim=1)
        weights = (updates.weights * (1 + updates.clients))[finite]
        seen = (weights / weights.sum()) @ updates.deltas[finite]
        return {"trail": memory["trail"] / 2 + seen + updates.params / 100, "looks": memory["looks"] + 1}

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """The mean, and a quarter of the trail."""
        after = self.observe(updates, memory)
        return Aggregate(updates.deltas.mean(dim=0) + after["trail"] / 4, after)


@dataclass(frozen=True)
class Seen:
    """What a rule was shown: when, and what it remembered."""

    ahead: bool
    rows: list[list[float]]
    clients: list[int]
    weights: list[float]
    params: list[float]
    rounds: float
    looks: float


@dataclass(frozen=True)
class Noting(StubRule):
    """The weighted mean, which notes what it is shown, and counts its rounds and its looks; may refuse to look."""

    noted: list[Seen] = field(default_factory=list)
    blind: bool = False

    def init(self, layout: Layout) -> Memory:
        """Nothing seen."""
        return {"rounds": torch.zeros(1), "looks": torch.zeros(1)}

    def observe(self, updates: Updates, memory: Memory) -> Memory:
        """One look more."""
        if self.blind:
            raise Refused("it will not look")
        self._note(True, updates, memory)
        return {**memory, "looks": memory["looks"] + 1}

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """The weighted mean."""
        self._note(False, updates, memory)
        aggregate = super().__call__(updates, memory)
        return aggregate._replace(memory={**memory, **aggregate.memory})

    def _note(self, ahead: bool, updates: Updates, memory: Memory) -> None:
        assert updates.params is not None
        shown = (updates.deltas, updates.clients, updates.weights, updates.params)
        rows, clients, weights, params = (tensor.tolist() for tensor in shown)
        self.noted.append(Seen(ahead, rows, clients, weights, params, float(memory["rounds"]), float(memory["looks"])))


@dataclass
class Walkers:
    """A carrier of clients whose ways are written down; those away, or without one, are absent.

    It notes what it is asked.
    """

    ways: Mapping[int, Way]
    away: frozenset[int] = frozenset()
    poisoned: Mapping[int, Way] = field(default_factory=dict)
    examples: Mapping[int, int] = field(default_factory=dict)
    calls: list[tuple[tuple[int, ...], int, bool]] = field(default_factory=list)
    starts: list[Any] = field(default_factory=list)

    @property
    def shape(self) -> Way:
        """A way like all others."""
        return next(iter(self.ways.values()))

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
        self.starts.append(None if starts is None else starts.tolist())
        ways = self.poisoned if poisoned else self.ways
        there = [client for client in clients if client in ways and client not in self.away]
        moments, size = len(self.shape), len(self.shape[0])
        walked = torch.tensor([ways[client] for client in there], dtype=torch.float32)
        *ahead, rows = walked.view(len(there), -1 if there else moments, size).transpose(0, 1).clone()
        return Uploads(
            rows=rows,
            examples=torch.tensor([self.examples.get(client, 1) for client in there]),
            losses=torch.zeros(len(there)),
            clients=torch.tensor(there),
            dropped=tuple(Drop(client, "absent") for client in clients if client not in there),
            lookahead=tuple(ahead),
        )


def walking_world(
    ways: Mapping[int, Way] | Sequence[Way], *, poisoned: Mapping[int, Way] | None = None, **how: Any
) -> World:
    """A stub world whose clients go these ways; its rule takes notes unless said."""
    by_client = ways if isinstance(ways, Mapping) else dict(enumerate(ways))
    examples = how.pop("examples", {})
    rule = how.pop("rule", None) or Noting()
    away = frozenset(how.pop("away", ()))
    made = stub_world({client: way[-1] for client, way in by_client.items()}, rule=rule, **how)
    carrier = Walkers(by_client, away, poisoned or {}, examples)
    return replace(made, carrier=carrier, forger=replace(made.forger, carrier=carrier))


def noted(world: World) -> list[Seen]:
    """What its rule was shown."""
    assert isinstance(world.rule, Noting)
    return world.rule.noted
