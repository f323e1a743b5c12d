"""A Flower app as someone who has never heard of fedsim writes it: flwr, torch, and a rule from ``strategies``."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import Result
from sklearn.datasets import load_digits
from torch import nn

from strategies import RobustStrategy

LIAR = 2
"""The client that turns its model round."""


def network() -> nn.Module:
    """Digits, with a BatchNorm layer."""
    return nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))


@cache
def digits(client: int | None, clients: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A client's samples; the last hundred of all for nobody, to test on."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    part = order[-100:] if client is None else order[:-100][client::clients]
    return torch.tensor(pixels[part] / 16, dtype=torch.float32), torch.tensor(labels[part])


app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One pass over the client's samples."""
    client, clients = int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    model = network()
    before = message.content.array_records["arrays"].to_torch_state_dict()
    model.load_state_dict(before)
    inputs, labels = digits(client, clients)
    optimizer = torch.optim.SGD(model.parameters(), lr=float(message.content.config_records["config"]["lr"]))
    losses = []
    for batch in torch.arange(len(labels)).split(16):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    state = model.state_dict()
    if client == LIAR:
        state = {name: 4 * before[name] - 3 * value for name, value in state.items()}
    metrics = MetricRecord({"num-examples": len(labels), "train_loss": sum(losses) / len(losses)})
    return Message(RecordDict({"arrays": ArrayRecord(state), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Accuracy on the client's own samples."""
    arrays = message.content.array_records["arrays"]
    inputs, labels = digits(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
    metrics = MetricRecord({"num-examples": len(labels), "accuracy": accuracy(arrays, inputs, labels)})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def accuracy(arrays: ArrayRecord, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Of a model on samples."""
    model = network()
    model.load_state_dict(arrays.to_torch_state_dict())
    model.eval()
    with torch.no_grad():
        return float((model(inputs).argmax(dim=1) == labels).float().mean())


def served(rule: Any, rounds: int, ended: list[tuple[RobustStrategy, Result]], **settings: Any) -> ServerApp:
    """A ServerApp around a rule, and what became of it."""
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        torch.manual_seed(0)
        strategy = RobustStrategy(rule, **settings)
        result = strategy.start(
            grid,
            ArrayRecord(network().state_dict()),
            num_rounds=rounds,
            train_config=ConfigRecord({"lr": 0.3}),
            evaluate_fn=lambda number, arrays: MetricRecord({"accuracy": accuracy(arrays, *digits(None, 1))}),
        )
        ended.append((strategy, result))

    return server
