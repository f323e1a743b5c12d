"""The Flower carrier: clients are nodes of a Flower grid, wherever they run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from fedsim.domain import Drop, Uploads
from fedsim.engine.enrolment import Enrolment
from fedsim.engine.exchange import ONCE, collect, reason, unforeseeable
from fedsim.lazy import torch
from fedsim.transport import Malformed, decode, encode

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, Message, RecordDict
    from torch import Tensor

T = TypeVar("T")


@dataclass
class GridCarrier:
    """Clients on a Flower grid. What they do is ``fedsim.app``'s to say; this side asks, waits and reads.

    A client that is not there, answers too late, with an error, or with anything but what it was asked for costs its
    own upload. No round takes longer than its deadline: it begins with the honest work, and all that is asked of
    clients after that shares it. Where none of a round's clients is there at its start, the first to come is waited for
    as long as honest work would be, so that clients who all restart find the run alive; it is skipped after that. Where
    they are gone for good, the run stops after ``server.max_skipped`` such rounds.

    Fields:
        settings: the experiment, as resolved TOML; it reaches the clients with every message.
        size: entries of a row.
        seconds: the deadline of a round.
        phases: how often clients are asked in a round. Each phase leaves those after it an equal part of the deadline,
            or one honest client that hangs would leave the adversary no time; what it does not use is theirs, too.
        lookahead: how many lookahead rows come with each.
    """

    enrolment: Enrolment
    settings: str
    size: int
    seconds: float
    phases: int = 1
    lookahead: int = 0
    _began: float = field(default=0.0, init=False)
    _phase: int = field(default=0, init=False)

    def train(
        self,
        clients: Sequence[int],
        params: Tensor,
        round: int,
        poisoned: bool = False,
        starts: Tensor | None = None,
    ) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked.

        From ``starts`` (n, size), if given; the uploads are measured from ``params`` all the same.
        """
        from flwr.app import ArrayRecord, ConfigRecord, MessageType, RecordDict

        if not poisoned:
            self._phase = 0
        theta = ArrayRecord({"theta": encode(params.detach().cpu().numpy())})
        contents = {}
        for place, client in enumerate(clients):
            order = ConfigRecord(
                {
                    "settings": self.settings,
                    "client": client,
                    "round": round,
                    "chosen": len(clients),
                    "poisoned": poisoned,
                    ONCE: unforeseeable(),
                }
            )
            contents[client] = RecordDict({"arrays": theta, "order": order})
            if starts is not None:
                contents[client]["start"] = ArrayRecord({"theta": encode(starts[place].cpu().numpy())})
        read = partial(_upload, size=self.size, lookahead=self.lookahead)
        found, dropped = self.ask(MessageType.TRAIN, contents, round, read)
        # Each client's last row first, then those ahead of it.
        moments = list(zip(*(rows for rows, _, _ in found.values()), strict=True)) or [()] * (1 + self.lookahead)
        rows, *ahead = (
            (torch.stack(rows) if rows else torch.empty(0, self.size)).to(params.device) for rows in moments
        )
        return Uploads(
            rows=rows,
            examples=torch.tensor([examples for _, examples, _ in found.values()], dtype=torch.int64),
            losses=torch.tensor([loss for _, _, loss in found.values()], dtype=torch.float32),
            clients=torch.tensor(list(found), dtype=torch.int64),
            dropped=dropped,
            lookahead=tuple(ahead),
        )

    def ask(
        self, kind: str, contents: Mapping[int, RecordDict], round: int, read: Callable[[RecordDict], T]
    ) -> tuple[dict[int, T], tuple[Drop, ...]]:
        """The round's next phase: what ``read`` makes of the replies to messages of a ``kind``, by client.

        With it come the clients of whom nothing is had, and why. ``read`` raises Malformed for a reply that is not what
        was asked for.
        """
        found: dict[int, T] = {}
        dropped: list[Drop] = []
        replies = self._replies(kind, contents, round)
        for client in contents:
            reply = replies.get(client)
            if reply is not None and reply.has_error():
                self.enrolment.tell(f"round {round}: client {client} failed: {reason(reply)}")
            if reply is None or not reply.has_content():
                dropped.append(Drop(client, "absent"))
                continue
            try:
                found[client] = read(reply.content)
            except Malformed as error:
                dropped.append(Drop(client, "wrong shape" if error.shape else "malformed"))
        return found, tuple(dropped)

    def _replies(self, kind: str, contents: Mapping[int, RecordDict], round: int) -> dict[int, Message]:
        from flwr.app import Message

        enrolment = self.enrolment
        if self._phase == 0:
            self._began = time.monotonic()
        self._phase += 1
        end = self._began + self.seconds * min(1, self._phase / self.phases)
        enrolment.refresh()
        if self._phase == 1 and contents and not any(client in enrolment.nodes for client in contents):
            enrolment.tell(f"round {round}: none of its clients is there; waiting for one")
            enrolment.wait_for_any(contents, end - time.monotonic())
        left = end - time.monotonic()
        if left <= 0:
            return {}
        orders = {
            # Outlived by its phase, an order is void: a node that comes back later is not to work on it.
            client: Message(content, enrolment.nodes[client], kind, ttl=left)
            for client, content in contents.items()
            if client in enrolment.nodes
        }
        return collect(enrolment.grid, orders, left, enrolment.stop)


def rows_record(rows: Sequence[Tensor]) -> ArrayRecord:
    """A client's row (size,) and the lookahead rows after it, as they travel."""
    from flwr.app import ArrayRecord

    named = zip(_names(len(rows) - 1), rows, strict=True)
    return ArrayRecord({name: encode(row.detach().cpu().numpy()) for name, row in named})


def rows_of(content: RecordDict, size: int, lookahead: int = 0) -> list[Tensor]:
    """A reply's row (size,) and the lookahead rows after it. Raises Malformed for anything else."""
    arrays, names = content.array_records, _names(lookahead)
    if list(arrays) != ["arrays"] or list(arrays["arrays"]) != names:
        raise Malformed(f"a reply holds {', '.join(names)} and no other array")
    rows = [decode(arrays["arrays"][name], size) for name in names]
    for name, row in zip(names, rows, strict=True):
        if row.dtype != "float32" or row.shape != (size,):
            raise Malformed(f"{name} is {row.dtype} of shape {row.shape}", shape=row.shape != (size,))
    return [torch.from_numpy(row.copy()) for row in rows]


def _names(lookahead: int) -> list[str]:
    return ["theta", *(f"lookahead-{number}" for number in range(1, lookahead + 1))]


def _upload(content: RecordDict, size: int, lookahead: int) -> tuple[list[Tensor], int, float]:
    """A client's rows (size,), its count of examples and its loss. Raises Malformed for anything else."""
    rows, metrics = rows_of(content, size, lookahead), content.metric_records
    if list(metrics) != ["metrics"]:
        raise Malformed("a reply holds metrics")
    examples, loss = metrics["metrics"].get("examples"), metrics["metrics"].get("loss")
    if not isinstance(examples, int | float) or not 0 <= examples < 2**53 or not float(examples).is_integer():
        raise Malformed(f"examples is {examples}")
    if not isinstance(loss, float):
        raise Malformed("loss is no number")
    return rows, int(examples), loss if math.isfinite(loss) else math.nan
