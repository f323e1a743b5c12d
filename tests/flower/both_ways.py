"""Rounds with bad replies, on fedsim's carrier and in a stranger's app, and the model that they should end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import Tensor

from fedsim.config import ServerSection
from fedsim.domain import Aggregator, Round, ServerState, Uploads
from fedsim.engine.round import play_round
from fedsim.server import settle
from strategies import RobustStrategy
from tests.engine.builders import flat
from tests.flower.echoes import COUNT, START, D, echoed, sent, stranger, stranger_arrays, world
from tests.flower.grids import Fault, InProcessGrid

BAD = 4
OTHERS = [client for client in range(COUNT) if client != BAD]


def flattened(arrays: ArrayRecord) -> Tensor:
    """A record's numbers, one after the other."""
    return torch.from_numpy(np.concatenate([array.numpy().reshape(-1) for array in arrays.values()]))


def strategy_rounds(
    strategy: RobustStrategy, faults: Mapping[int, Fault], rounds: int = 1
) -> tuple[Tensor, list[Round], InProcessGrid]:
    """The model after ``rounds`` of a stranger's app, and what the strategy wrote down."""
    grid = InProcessGrid.of(stranger(), COUNT, faults=dict(faults))
    arrays = stranger_arrays()
    result = strategy.start(grid, arrays, rounds)
    return flattened(result.arrays or arrays), strategy.rounds, grid


def carrier_round(
    rule: Aggregator, faults: Mapping[int, Fault], seconds: float = 30.0, **server: Any
) -> tuple[Tensor, Round]:
    """The model after a round of fedsim's own, and what was written down."""
    made, params, grid = world(rule, seconds, **server)
    grid.faults.update(faults)
    state, record = play_round(made.start(params), made)
    return state.params, record


def settled(rule: Aggregator, uploads: Uploads, **server: Any) -> Tensor:
    """The model after a round with these uploads."""
    state = ServerState(0, torch.from_numpy(START.copy()), rule.init(flat(D)), torch.zeros(D))
    return settle(state, uploads, rule, flat(D), ServerSection(**server)).state.params


def as_seen_by_a_strategy(clients: Sequence[int], numbers: Mapping[int, int]) -> Uploads:
    """The uploads of clients who send whole models, in the order of their nodes' numbers."""
    ordered = sorted(clients, key=numbers.__getitem__)
    rows = {client: (START + echoed(client, 1)) - START for client in clients}
    return replace(sent(ordered, 1, rows), clients=torch.tensor([numbers[client] for client in ordered]))


def numbers(strategy: RobustStrategy, grid: InProcessGrid) -> dict[int, int]:
    """The number that the strategy gave to each client's node."""
    return {client: strategy.nodes[grid.node(client)] for client in range(COUNT)}
