"""The Flower carrier: clients are nodes of a Flower grid, wherever they run."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fedsim.domain import Drop, Uploads
from fedsim.lazy import torch
from fedsim.transport import Malformed, decode, encode

if TYPE_CHECKING:
    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid
    from torch import Tensor

GLANCE_SECONDS = 0.1
"""How long a round looks out for new nodes; one that has not said who it is by then takes part in a later round."""


def collect(
    grid: Grid, messages: Mapping[int, Message], seconds: float, stop: threading.Event | None = None
) -> dict[int, Message]:
    """Send each client its message and gather the replies that come within ``seconds``, by client."""
    waiting = send(grid, messages)
    replies = gather(grid, waiting, seconds, stop)
    forget = getattr(grid, "forget", None)
    if forget is not None:
        forget(list(waiting))
    return replies


def send(grid: Grid, messages: Mapping[int, Message]) -> dict[str, int]:
    """Send each client its message; the clients by the ids of these messages, without those that cannot be reached."""
    if not messages:
        return {}
    sent = list(grid.push_messages(list(messages.values())))
    return {message: client for message, client in zip(sent, messages, strict=True) if message}


def gather(
    grid: Grid, waiting: dict[str, int], seconds: float, stop: threading.Event | None = None
) -> dict[int, Message]:
    """The replies to the messages ``waiting`` that come within ``seconds``, by client; these wait no longer.

    A reply belongs to the client whose message it was asked for, whatever it says of itself. Uses only
    ``pull_messages``, with back-off, an id at a time: one node that dies in its upload must not hold up the others'.
    Raises KeyboardInterrupt when ``stop`` is set, for loops that do not run in the main thread.
    """
    deadline = time.monotonic() + seconds
    replies: dict[int, Message] = {}
    pause = 0.002
    while waiting and time.monotonic() < deadline:
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        before = len(waiting)
        for message in list(waiting):
            try:
                found = list(grid.pull_messages([message]))
            except (ValueError, TypeError, LookupError, AttributeError, AssertionError):
                del waiting[message]  # Flower cannot put it together: its sender's doing and loss.
                continue
            if found:
                replies[waiting.pop(message)] = found[0]
            if time.monotonic() > deadline:
                break
        pause = 0.002 if len(waiting) < before else min(1.5 * pause, 0.25)
        if waiting:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
    return replies


def print_nothing(line: str) -> None:
    """Tell nobody."""


@dataclass
class Enrolment:
    """Which node is which client: asked of each node once, by a message.

    The first node to name a client keeps it as long as it is there. A second one is left out and told of, and takes its
    place when it leaves: a client that was killed and comes back is there twice for a while. A node that names no
    client of the federation is told of, too.

    Fields:
        count: clients in the federation.
        tell: where a line about a node goes.
        nodes: node ids by client.
        stop: set to end whoever waits for replies.
    """

    grid: Grid
    count: int
    tell: Callable[[str], None] = print_nothing
    nodes: dict[int, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    _said: dict[int, int | None] = field(default_factory=dict)
    _waiting: dict[str, int] = field(default_factory=dict)

    def refresh(self) -> None:
        """Ask nodes that have come, and let go of those that have left; waits for nobody."""
        from flwr.app import Message, MessageType, RecordDict

        present = set(self.grid.get_node_ids())
        for gone in [client for client, node in self.nodes.items() if node not in present]:
            del self.nodes[gone]
            self.tell(f"client {gone} left")
        self._said = {node: client for node, client in self._said.items() if node in present}
        self._waiting = {message: node for message, node in self._waiting.items() if node in present}
        for node, client in self._said.items():
            if client is not None and client in range(self.count) and client not in self.nodes:
                self._join(node, client)
        # A grid whose nodes have registered keys knows better than they say who they are.
        keyed: bool = getattr(self.grid, "keyed", False)
        proven: Mapping[int, int] = getattr(self.grid, "proven", dict)() if keyed else {}
        new = sorted(present - self._said.keys() - set(self._waiting.values()))
        self._waiting |= send(self.grid, {node: Message(RecordDict(), node, MessageType.QUERY) for node in new})
        for node, reply in sorted(gather(self.grid, self._waiting, GLANCE_SECONDS, self.stop).items()):
            client = self._said[node] = _client(reply)
            if keyed and client is not None and node not in proven:
                del self._said[node]  # Not there at this moment: it is asked again.
                continue
            if keyed and client is not None and proven[node] != client:
                self._said[node] = None
                key = f"its key is client {proven[node]}'s"
                self.tell(f"node {node} is left out: it says it is client {client}, and {key}")
            elif client is None:
                self.tell(f"node {node} is no client of this federation: it does not say which")
            elif client not in range(self.count):
                self.tell(f"node {node} is no client of this federation: it says it is {client}")
            elif client in self.nodes:
                self.tell(f"node {node} is left out: client {client} has joined already")
            else:
                self._join(node, client)

    def wait(self, seconds: float) -> bool:
        """Refresh until every client has joined or the time is up; whether they all have."""
        deadline = time.monotonic() + seconds
        self.refresh()
        while len(self.nodes) < self.count and time.monotonic() < deadline:
            if self.stop.wait(0.2):
                raise KeyboardInterrupt
            self.refresh()
        return len(self.nodes) == self.count

    def _join(self, node: int, client: int) -> None:
        self.nodes[client] = node
        self.tell(f"client {client} joined ({len(self.nodes)} of {self.count})")


@dataclass(frozen=True)
class GridCarrier:
    """Clients on a Flower grid. What they do is ``fedsim.app``'s to say; this side asks, waits and reads.

    A client that is not there, answers too late, with an error, or with anything but its row costs its own upload.

    Fields:
        settings: the experiment, as resolved TOML; it reaches the clients with every message.
        size: entries of a row.
        seconds: how long a round may wait for uploads.
    """

    enrolment: Enrolment
    settings: str
    size: int
    seconds: float

    def train(self, clients: Sequence[int], params: Tensor, round: int, poisoned: bool = False) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked."""
        from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict

        self.enrolment.refresh()
        theta = ArrayRecord({"theta": encode(params.detach().cpu().numpy())})
        orders = {}
        for client in clients:
            order = ConfigRecord(
                {
                    "settings": self.settings,
                    "client": client,
                    "round": round,
                    "chosen": len(clients),
                    "poisoned": poisoned,
                }
            )
            if client in self.enrolment.nodes:
                content = RecordDict({"arrays": theta, "order": order})
                node = self.enrolment.nodes[client]
                # Outlived by the round, an order is void: a node that comes back later is not to work on it.
                orders[client] = Message(content, node, MessageType.TRAIN, ttl=self.seconds)
        replies = collect(self.enrolment.grid, orders, self.seconds, self.enrolment.stop)
        rows, examples, losses, found, dropped = [], [], [], [], []
        for client in clients:
            reply = replies.get(client)
            if reply is not None and reply.has_error():
                reason = "".join(letter for letter in str(reply.error.reason)[:200] if letter.isprintable())
                self.enrolment.tell(f"round {round}: client {client} failed: {reason}")
            if reply is None or not reply.has_content():
                dropped.append(Drop(client, "absent"))
                continue
            try:
                row, count, loss = _upload(reply.content, self.size)
            except Malformed as error:
                dropped.append(Drop(client, "wrong shape" if error.shape else "malformed"))
                continue
            rows.append(row)
            examples.append(count)
            losses.append(loss)
            found.append(client)
        return Uploads(
            rows=(torch.stack(rows) if rows else torch.empty(0, self.size)).to(params.device),
            examples=torch.tensor(examples, dtype=torch.int64),
            losses=torch.tensor(losses, dtype=torch.float32),
            clients=torch.tensor(found, dtype=torch.int64),
            dropped=tuple(dropped),
        )


def _client(reply: Message) -> int | None:
    """The client a node says it is; None when it says nothing of the kind."""
    if not reply.has_content() or "client" not in reply.content.metric_records:
        return None
    said = reply.content.metric_records["client"].get("client")
    return said if isinstance(said, int) else None


def _upload(content: RecordDict, size: int) -> tuple[Tensor, int, float]:
    """A client's row (size,), its count of examples and its loss. Raises Malformed for anything else."""
    arrays, metrics = content.array_records, content.metric_records
    if list(arrays) != ["arrays"] or list(arrays["arrays"]) != ["theta"] or list(metrics) != ["metrics"]:
        raise Malformed("a reply holds one array, theta, and metrics")
    row = decode(arrays["arrays"]["theta"], size)
    if row.dtype != "float32" or row.shape != (size,):
        raise Malformed(f"theta is {row.dtype} of shape {row.shape}", shape=row.shape != (size,))
    examples, loss = metrics["metrics"].get("examples"), metrics["metrics"].get("loss")
    if not isinstance(examples, int) or not 0 <= examples < 2**53 or not isinstance(loss, float):
        raise Malformed("a reply's metrics are examples and loss")
    return torch.from_numpy(row.copy()), examples, loss if math.isfinite(loss) else math.nan
