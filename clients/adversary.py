"""The adversary: who strikes, with which attack, knowing what, when, and how stealthily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.domain import Attack, Knowledge, View
from fedsim.seeds import stream

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """The rounds in which the adversary strikes; in all others its clients are honest.

    Fields:
        start, stop: first and last round, from 1; no last one when ``stop`` is None.
        every: strike in each ``every``-th round from ``start``.
        probability: of striking in such a round, drawn anew each time.
        late: whether to strike in a round's last uploads only, and be honest in those that a rule watches before.
    """

    start: int = 1
    stop: int | None = None
    every: int = 1
    probability: float = 1.0
    late: bool = False

    def strikes(self, round: int, seed: int) -> bool:
        """Whether the adversary strikes in ``round``."""
        if round < self.start or (self.stop is not None and round > self.stop):
            return False
        if (round - self.start) % self.every:
            return False
        return float(stream(seed, "round", round, "schedule").random()) < self.probability


@dataclass(frozen=True)
class Stealth:
    """How much of what is uploaded is crafted: sent = (1 - alpha) honest + alpha crafted.

    Fields:
        factor: alpha in [0, 1]; 0 is honest behaviour, 1 the bare attack.
        final: alpha in the last round; alpha moves there linearly over the run. None keeps it at ``factor``.
        rounds: of the whole run.
    Source: Mao et al., Romoa, Sec. 2.2.
    """

    factor: float = 1.0
    final: float | None = None
    rounds: int = 1

    def alpha(self, round: int) -> float:
        """The factor in ``round``, from 1."""
        if self.final is None or self.rounds < 2:
            return self.factor
        progress = (round - 1) / (self.rounds - 1)
        return (1 - progress) * self.factor + progress * self.final

    def blend(self, honest: Tensor, crafted: Tensor, round: int) -> Tensor:
        """(f, d) what is sent; exactly one of the two at alpha 0 and 1, however large the other is."""
        alpha = self.alpha(round)
        if alpha == 0.0:
            return honest
        return crafted if alpha == 1.0 else (1 - alpha) * honest + alpha * crafted


@dataclass(frozen=True)
class Adversary:
    """An attack in the hands of some clients, who collude.

    Fields:
        attack: crafts the rows of all its clients at once.
        clients: their ids, ascending.
        knowledge: what the attack is shown.
    """

    attack: Attack
    clients: tuple[int, ...] = ()
    knowledge: Knowledge = "honest"
    schedule: Schedule = Schedule()
    stealth: Stealth = Stealth()

    def forge(self, view: View, rng: Generator) -> Tensor:
        """(f, d) what the malicious clients upload in a round in which they strike."""
        return self.stealth.blend(view.own, self.attack(view, rng), view.round)
