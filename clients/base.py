"""What every attack of the table starts from: it needs nothing special unless it says so."""

from __future__ import annotations

from typing import ClassVar

from fedsim.domain import Knowledge
from fedsim.tables import Settings


class Malicious(Settings):
    """An attack that works for any number of clients with the least knowledge."""

    needs: ClassVar[Knowledge] = "own"

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """Nothing to refuse."""
