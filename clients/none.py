"""No attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.base import Malicious

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View


@dataclass(frozen=True)
class NoAttack(Malicious):
    """Honest behaviour: every client uploads what it trained."""

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d) the honest updates."""
        return view.own
