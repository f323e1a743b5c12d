"""What a round costs beyond training and aggregation."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from experiments.speed.table import Ratios
from experiments.speed.turns import Contestant, Spread, Terms, Turn, timed
from experiments.speed.workloads import DENSE
from fedsim.build import Experiment, experiment
from fedsim.display import Display
from fedsim.domain import Aggregate, Aggregator, Layout, Memory, Updates, Uploads
from fedsim.engine.forging import Carrier
from fedsim.engine.round import play_round
from fedsim.results.folder import RunFolder

ROUND, CLIENT = 1e-3, 5e-6
"""Seconds that are allowed a round, and more for each client."""


@dataclass
class Stopwatch:
    """Sums up what goes through it."""

    spent: float = 0.0
    clock: str = "wall"

    def run(self, call: Any) -> Any:
        """The result of ``call``, whose time is added."""
        found: list[Any] = []
        turn: Turn = timed(Contestant(lambda _: found.append(call())))
        self.spent += getattr(turn, self.clock)
        return found[0]


@dataclass(frozen=True)
class TimedCarrier:
    """A carrier, timed."""

    inner: Carrier
    watch: Stopwatch

    def train(
        self,
        clients: Sequence[int],
        params: Tensor,
        round: int,
        poisoned: bool = False,
        starts: Tensor | None = None,
    ) -> Uploads:
        """The same."""
        found: Uploads = self.watch.run(lambda: self.inner.train(clients, params, round, poisoned, starts))
        return found


@dataclass(frozen=True)
class TimedRule:
    """A rule, timed."""

    inner: Aggregator
    watch: Stopwatch

    def require(self, n: int) -> None:
        """The same."""
        self.inner.require(n)

    def init(self, layout: Layout) -> Memory:
        """The same."""
        return self.inner.init(layout)

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """The same."""
        found: Aggregate = self.watch.run(lambda: self.inner(updates, memory))
        return found


def overheads(n: int, against: tuple[str, ...], terms: Terms) -> Iterator[Ratios]:
    """A line without attack, and one under attack, whose crafting counts too."""
    attacked = {"attack": {"name": "ipm", "epsilon": 1.0, "clients": n // 5}}
    for name, sections in {"overhead": {}, "overhead, under attack": attacked}.items():
        built = experiment(DENSE.config(n, terms, **sections))
        seconds = beyond_work(built, terms)
        ours = Spread.of([1000 * second for second in seconds])
        allowed = Spread.of([(ROUND + CLIENT * n) / second for second in seconds])
        d = built.world.layout.weights
        yield Ratios(name, n, d, against, ours, {"allowed": allowed}, {} if terms.quick else {"allowed": 1.0})


def beyond_work(built: Experiment, terms: Terms) -> list[float]:
    """Seconds of each of some rounds, recorded and shown, less those of training and of the rule."""
    watch = Stopwatch(clock=terms.clock)
    carrier, rule = TimedCarrier(built.world.carrier, watch), TimedRule(built.world.rule, watch)
    world = replace(built.world, carrier=carrier, rule=rule, forger=replace(built.world.forger, carrier=carrier))
    state, found = built.state, []
    with tempfile.TemporaryDirectory() as folder, Display(quiet=True) as display:
        record = RunFolder(Path(folder))
        record.begin(built.config, built.labels, world.forger.adversary.clients)
        display.start("overhead", built.config.rounds, 0)

        def play(_: object) -> None:
            nonlocal state
            state, played = play_round(state, world)
            record.record(played, 0.0, state)
            display.advance(played)

        for _ in range(2 + 2 * terms.most):
            watch.spent = 0.0
            turn = timed(Contestant(play))
            found.append(getattr(turn, terms.clock) - watch.spent)
    # The first rounds warm up, and write the folder's first files.
    return found[2:]
