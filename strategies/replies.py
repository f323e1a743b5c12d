"""What nodes of anyone's Flower app send back, read as uploads: strictly, and one bad reply costs no other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, Message

from fedsim.domain import Drop, Uploads
from fedsim.lazy import torch
from fedsim.transport import Codec, Malformed

if TYPE_CHECKING:
    from torch import Tensor


class Replies:
    """Reads a round's replies into a matrix that every round uses again.

    Fields:
        codec: of the model.
        records: the names of the array records that a reply has: its model's first, then those ahead of it, in order.
        counted_by: the metric that says how many examples a client has; None where nobody asks.
    """

    def __init__(self, codec: Codec, records: Sequence[str], counted_by: str | None) -> None:
        self.codec, self.records, self.counted_by = codec, list(records), counted_by
        self._rows = torch.empty(len(self.records), 0, codec.layout.size)

    def read(
        self, replies: Sequence[Message], clients: Mapping[int, int], params: Tensor
    ) -> tuple[Uploads, list[dict[str, float]]]:
        """The uploads that could be read, in the order of ``clients``, with their metrics; why others could not.

        ``clients`` are the ids of the nodes that were asked, by node, ``params`` (size,) what they were sent.
        """
        if self._rows.shape[1] < len(clients):
            self._rows = torch.empty(len(self.records), len(clients), self.codec.layout.size)
        examples: list[int] = []
        read: list[int] = []
        metrics: list[dict[str, float]] = []
        dropped: list[Drop] = []
        answers = [reply for reply in replies if reply.has_content()]
        senders = Counter(reply.metadata.src_node_id for reply in answers)
        found = {reply.metadata.src_node_id: reply for reply in answers}
        for node, client in clients.items():
            reply = found.get(node)
            # A reply's sender is its own word: of two in one name, nobody can tell which is true.
            if reply is None or senders[node] > 1:
                dropped.append(Drop(client, "absent" if reply is None else "malformed"))
                continue
            try:
                # Into the next free row: one that turns out malformed is written over.
                for record, row in zip(self._arrays(reply), self._rows[:, len(read)], strict=True):
                    self.codec.decode(record, row)
                examples.append(self._examples(reply))
            except Malformed as error:
                dropped.append(Drop(client, "wrong shape" if error.shape else "malformed"))
                continue
            read.append(client)
            metrics.append(metrics_of(reply))
        rows, *ahead = self._rows[:, : len(read)].sub_(params)
        uploads = Uploads(
            rows=rows,
            examples=torch.tensor(examples, dtype=torch.int64),
            losses=torch.full((len(read),), math.nan),
            clients=torch.tensor(read, dtype=torch.int64),
            dropped=tuple(dropped),
            lookahead=tuple(ahead),
        )
        return uploads, metrics

    def _arrays(self, reply: Message) -> list[ArrayRecord]:
        records = reply.content.array_records
        if set(records) != set(self.records):
            raise Malformed(f"array records {sorted(records)}, not {self.records}")
        return [records[name] for name in self.records]

    def _examples(self, reply: Message) -> int:
        if self.counted_by is None:
            return 1
        claimed = metrics_of(reply).get(self.counted_by)
        if claimed is None or not 0 < claimed < 2**31 or not claimed.is_integer():
            raise Malformed(f"{self.counted_by} is {claimed}")
        return int(claimed)


def metrics_of(reply: Message) -> dict[str, float]:
    """The finite numbers among a reply's metrics."""
    if not reply.has_content():
        return {}
    values: dict[str, Any] = {}
    for record in reply.content.metric_records.values():
        values.update(record)
    return {
        name: float(value) for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def means(metrics: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The mean of each metric over the clients that report it."""
    names = sorted({name for found in metrics for name in found})
    return {
        name: sum(found[name] for found in metrics if name in found) / sum(name in found for found in metrics)
        for name in names
    }
