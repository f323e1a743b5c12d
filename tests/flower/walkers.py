"""A stranger's app whose clients send their way, and what fedsim makes of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from fedsim.config import ServerSection
from fedsim.domain import ServerState, Uploads
from fedsim.seeds import stream
from fedsim.server import observe, settle
from strategies import RobustStrategy
from tests.engine.builders import flat
from tests.flower.both_ways import flattened
from tests.flower.echoes import COUNT, START, D, stranger_arrays
from tests.flower.grids import Fault, InProcessGrid

AHEAD = 2


def row(client: int, round: int, moment: int) -> np.ndarray:
    """(D,) what a client has come to at a moment; the last is what it sends back."""
    return stream(0, "way", client, round, moment).standard_normal(D).astype(np.float32)


def walker(name: str = "arrays", ahead: int = AHEAD) -> ClientApp:
    """A client that sends its model after some of its steps, too."""
    made = ClientApp()

    @made.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        found = message.content.array_records[name]
        number = int(str(message.content.config_records["config"]["server-round"]))
        records = [name, *(f"{name}-lookahead-{moment}" for moment in range(1, ahead + 1))]
        content = RecordDict({"metrics": MetricRecord({"num-examples": 10 + client})})
        for moment, record in enumerate(records):
            parts = dict(zip(found, np.split(row(client, number, (moment - 1) % (ahead + 1)), [8]), strict=True))
            arrays = {part: found[part].numpy() + parts[part].reshape(found[part].shape) for part in found}
            content[record] = ArrayRecord({part: Array(array) for part, array in arrays.items()})
        return Message(content, reply_to=message)

    return made


def after(
    strategy: RobustStrategy, rounds: int = 3, app: ClientApp | None = None, faults: Mapping[int, Fault] | None = None
) -> tuple[Tensor, dict[int, int]]:
    """The model after these rounds, and the number that each client's node was given."""
    grid = InProcessGrid.of(app or walker(), COUNT, faults=dict(faults or {}))
    result = strategy.start(grid, arrays := stranger_arrays(), rounds)
    return flattened(result.arrays or arrays), {client: strategy.nodes[grid.node(client)] for client in range(COUNT)}


def expected(
    rule: Any,
    numbers: Mapping[int, int],
    rounds: int = 3,
    without: Mapping[int, set[int]] | None = None,
    change: Callable[[int, list[Tensor]], None] = lambda client, rows: None,
    **server: Any,
) -> ServerState:
    """Fedsim's own way: observed moment by moment, and settled; ``without`` names lost clients by round."""
    section, layout = ServerSection(**server), flat(D)
    state = ServerState(0, torch.from_numpy(START.copy()), rule.init(layout), torch.zeros(D))
    for number in range(1, rounds + 1):
        lost = (without or {}).get(number, set())
        clients = sorted((client for client in range(COUNT) if client not in lost), key=numbers.__getitem__)
        ways = []
        for client in clients:
            # As they come back: the model and the way from it together, in float32.
            way = [(state.params + torch.from_numpy(row(client, number, at))) - state.params for at in range(AHEAD + 1)]
            change(client, way)
            ways.append(way)
        *ahead, rows = (torch.stack(moment) for moment in zip(*ways, strict=True))
        ids = torch.tensor([numbers[client] for client in clients])
        examples = torch.tensor([10 + client for client in clients])
        memory = state.memory
        for early in ahead:
            uploads = Uploads(early, examples, torch.zeros(len(ids)), ids)
            memory = observe(memory, uploads, state.params, rule, layout, section)
        uploads = Uploads(rows, examples, torch.zeros(len(ids)), ids)
        state = settle(state, uploads, rule, layout, section, memory=memory).state
    return state
