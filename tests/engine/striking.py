"""One round of four clients, two of whom attack, with two uploads ahead of the sync's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from clients.adversary import Adversary, Schedule
from fedsim.domain import Round, ServerState
from fedsim.engine.round import play_round
from tests.engine.watching import Seen, noted, walking_world

WAYS = [
    [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]],
    [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]],
    [[1.0, 1.0], [2.0, 2.0], [6.0, 6.0]],
    [[4.0, 4.0], [5.0, 5.0], [6.0, 6.0]],
]
PARAMS = torch.tensor([5.0, 7.0])
LATE = Schedule(late=True)


def struck(attack: Any, **how: Any) -> tuple[list[Seen], ServerState, Round]:
    """What the rule was shown in one round, the state after, and the record."""
    about_clients = {key: how.pop(key) for key in ("poisoned", "away") if key in how}
    world = walking_world(WAYS, adversary=Adversary(attack, (1, 3), **how), **about_clients)
    state, record = play_round(world.start(PARAMS), world)
    return noted(world), state, record


def at(moment: int, forged: Mapping[int, list[float]]) -> list[list[float]]:
    """All rows of a moment, some of them forged."""
    return [forged.get(client, way[moment]) for client, way in enumerate(WAYS)]
