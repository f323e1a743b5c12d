"""python -m experiments.speed.flower: RobustStrategy against Flower's own strategies, on the same replies.

A row each: what is timed, n, d, seconds of both (medians of CPU time, one thread) and the ratio with its spread.
"""

from __future__ import annotations

import csv
import logging
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Bulyan as FlowerBulyan
from flwr.serverapp.strategy import FedMedian, Strategy

from experiments.speed.turns import in_turn, ratio
from fedsim.commands import launch
from fedsim.flower_internals import TaskIdentity
from fedsim.results.environment import commit
from fedsim.transport import Codec, decode
from strategies import Bulyan, Median, RobustStrategy

HERE = Path(__file__).parent
LAYERS = 10


class Nodes:
    """As much of a grid as choosing nodes needs."""

    def __init__(self, count: int) -> None:
        self.count = count

    def get_node_ids(self) -> Iterable[int]:
        """1 to count."""
        return range(1, self.count + 1)


def model(d: int, rng: np.random.Generator) -> ArrayRecord:
    """A model of d weights in ten arrays."""
    weights = rng.standard_normal(d, dtype=np.float32)
    return ArrayRecord({f"layer{place}": Array(part) for place, part in enumerate(np.array_split(weights, LAYERS))})


def replies(strategy: RobustStrategy, count: int, d: int) -> list[Message]:
    """What ``count`` nodes answer to the strategy's first round."""
    rng = np.random.default_rng(0)
    asked: Any = strategy.configure_train(1, model(d, rng), ConfigRecord(), Nodes(count))  # type: ignore[arg-type]
    return [
        Message(RecordDict({"arrays": model(d, rng), "metrics": MetricRecord({"num-examples": 10})}), reply_to=message)
        for message in asked
    ]


def contest(count: int, d: int, repeats: int) -> list[list[object]]:
    """The rows for one size."""
    rows = []
    f = (count - 3) // 4
    pairs: dict[str, tuple[Callable[[], RobustStrategy], Callable[[], Strategy]]] = {
        "median": (lambda: RobustStrategy(Median()), FedMedian),
        "bulyan": (lambda: RobustStrategy(Bulyan(f)), lambda: FlowerBulyan(num_malicious_nodes=f)),
    }
    for name, (ours, theirs) in pairs.items():
        strategy = ours()
        found = replies(strategy, count, d)
        seconds = in_turn(
            {
                "flower": partial(flowers, theirs, found),
                "fedsim": partial(strategy.aggregate_train, 1, found),
            },
            repeats,
        )
        rows.append(row(f"{name}, aggregate_train", count, d, seconds))
    records = [reply.content.array_records["arrays"] for reply in found]
    decoding = {
        "flower": lambda: [record.to_numpy_ndarrays() for record in records],
        "fedsim": lambda: [[decode(array) for array in record.values()] for record in records],
    }
    rows.append(row("bytes to arrays", count, d, in_turn(decoding, repeats)))
    codec = Codec.of(records[0])
    matrix = torch.empty(len(records), d)
    stacking = {
        "flower": lambda: np.stack([np.concatenate(record.to_numpy_ndarrays()) for record in records]),
        "fedsim": lambda: [codec.decode(record, matrix[place]) for place, record in enumerate(records)],
    }
    rows.append(row("bytes to a matrix of clients", count, d, in_turn(stacking, repeats)))
    return rows


def flowers(strategy: Callable[[], Strategy], found: list[Message]) -> object:
    """A round of Flower's strategy."""
    return strategy().aggregate_train(1, shallow(found))


def shallow(found: list[Message]) -> list[Message]:
    """Replies whose records may be emptied, as Flower's strategies do, over the same bytes."""
    return [
        Message(
            RecordDict(
                {
                    "arrays": ArrayRecord(dict(reply.content.array_records["arrays"].items())),
                    "metrics": reply.content.metric_records["metrics"],
                }
            ),
            metadata=reply.metadata,  # type: ignore[call-overload]
        )
        for reply in found
    ]


def row(what: str, count: int, d: int, seconds: dict[str, list[float]]) -> list[object]:
    """A line of the table."""
    middle, least, most = ratio(seconds["flower"], seconds["fedsim"])
    times = [f"{median(seconds[name]):.4f}" for name in ("flower", "fedsim")]
    return [what, count, d, *times, f"{middle:.1f}", f"{least:.1f} to {most:.1f}"]


def main(
    repeats: Annotated[int, typer.Option(help="how often each is timed")] = 5,
    table: Annotated[Path, typer.Option(help="the table to write")] = HERE / "flower.csv",
) -> None:
    """Time them in turn and write the table."""
    torch.set_num_threads(1)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    header = ["what", "n", "d", "flower seconds", "fedsim seconds", "ratio", "spread"]
    rows: list[list[object]] = []
    for count, d in ((10, 100_000), (100, 100_000), (10, 1_000_000), (100, 1_000_000)):
        for line in contest(count, d, repeats):
            print(*line, sep="\t", file=sys.stdout, flush=True)
            rows.append(line)
    with table.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# python -m experiments.speed.flower --repeats {repeats}\n")
        file.write(f"# commit {commit()}, {datetime.now(UTC).date()}\n")
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


if __name__ == "__main__":
    launch(main)
