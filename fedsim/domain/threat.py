"""What an adversary sees, and what an attack must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain.basics import Layout
    from fedsim.domain.rules import Aggregator, Memory
    from fedsim.domain.samples import Dataset

Knowledge = Literal["own", "honest", "rule"]
KNOWLEDGE: tuple[Knowledge, ...] = ("own", "honest", "rule")
"""What the adversary sees, from least to most; each includes those before it."""


@dataclass(frozen=True)
class View:
    """The threat model, as data: an attack sees what stands here and nothing else.

    Fields:
        round: the round being played, from 1.
        n: how many clients were chosen this round, its own included.
        params: (d,) the weights the server broadcast.
        own: (f, d) what the adversary's clients would honestly upload.
        honest: (h, d) the other clients' updates of this round, under knowledge "honest" or "rule"; else None.
        rule, memory: the server's rule and what it remembers, under knowledge "rule"; else None.
        poisoned: (f, d) what the adversary's clients upload when they train on poisoned data; None when the
            attack poisons none.
        attackers, others: the ids of the clients of ``own`` and of ``honest``, where the rule is shown; else empty.
        last: (d,) how the broadcast weights have changed since the round before; None in the first round.
        layout: of the weights.
        data: the adversary's clients' own samples, in the order of ``own``.
    """

    round: int
    n: int
    params: Tensor
    own: Tensor
    honest: Tensor | None
    rule: Aggregator | None
    memory: Memory | None
    poisoned: Tensor | None
    layout: Layout
    data: tuple[Dataset, ...] = ()
    last: Tensor | None = None
    attackers: tuple[int, ...] = ()
    others: tuple[int, ...] = ()

    @property
    def seen(self) -> Tensor:
        """(h, d) the honest updates the adversary reckons with: the others' where it sees them, else its own."""
        return self.own if self.honest is None else self.honest


@runtime_checkable
class Attack(Protocol):
    """Crafts the uploads of all of the adversary's clients of a round; ``needs`` is the least it must see."""

    needs: ClassVar[Knowledge]

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """Raise ``Refused`` if f of n clients under this knowledge are too few or too many for it."""
        ...

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d): one row for each row of ``view.own``; leaves the view untouched."""
        ...


@runtime_checkable
class Poison(Protocol):
    """An attack that changes its clients' data before they train; ``view.poisoned`` holds what came of it.

    An attribute ``pace`` makes this training take so many times the steps of an honest client's.
    """

    def poison(self, data: Dataset, rng: Generator, goal: Dataset | None = None) -> Dataset:
        """The samples the client trains on instead of ``data``; ``goal`` is that of a targeted attack."""
        ...


@runtime_checkable
class Targeted(Protocol):
    """An attack that wants certain samples taken for what they are not; how far it got is measured on them."""

    def goal(self, held_out: Dataset, rng: Generator) -> Dataset | None:
        """Samples made of the test set's, under the labels it wants for them; None where it wants none."""
        ...
