"""What everything else is said in: bounds of fields, mistakes, and how a flat vector is made of tensors."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

Count = Annotated[int, Ge(0)]
PositiveCount = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]


class Mistake(Exception):
    """Something the user can mend: shown as one sentence, exit code 2, no traceback."""


class Refused(Mistake):
    """The input lies outside what a method's paper allows; says the method, the numbers and the remedy."""


@dataclass(frozen=True)
class Layout:
    """How a flat vector of ``size`` entries is made of named tensors; weights come first, then buffers.

    Fields:
        names, shapes: of each tensor, in order.
        weights: d, the number of trained entries; entries d and after are buffers (BatchNorm statistics).
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    weights: int

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each tensor lies in the flat vector."""
        edges = [0]
        for shape in self.shapes:
            entries = 1
            for side in shape:
                entries *= side
            edges.append(edges[-1] + entries)
        return tuple(slice(*pair) for pair in itertools.pairwise(edges))

    @property
    def size(self) -> int:
        """Entries of the flat vector, buffers included."""
        return self.slices[-1].stop if self.shapes else 0
