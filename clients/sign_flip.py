"""Sign flipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.base import Malicious
from fedsim.domain import NonNegative

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View


@dataclass(frozen=True)
class SignFlip(Malicious):
    """Each malicious client uploads its own honest update turned round: x_i = -scale own_i.

    Fields:
        scale: length of the upload, as a multiple of the honest one.
    Cost: O(f d).
    Source: Li et al., RSA, AAAI 2019, Sec. 5.
    Differs from: ByzFL, whose SignFlipping sends the negative mean of the honest updates, which is ``ipm`` here.
    """

    scale: NonNegative = 1.0

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), row by row from ``view.own``."""
        return view.own * -self.scale
