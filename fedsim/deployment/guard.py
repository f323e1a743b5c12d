"""What a node that was let in may tell a SuperLink: one reply to each of its orders, no larger than these."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from fedsim.deployment.asgi import App, Event, Receive, Scope, Send
from fedsim.deployment.parts import LITTLE, most
from fedsim.flower_internals import iterate_object_tree

if TYPE_CHECKING:
    from fedsim.flower_internals import InMemoryObjectStore

FLEET, RUNTIME = "/v1/fleet/", "/v1/runtime/"
"""Where nodes speak to, and where the Grid does."""

ASKS, ANNOUNCES, BRINGS = "pull-messages", "push-messages", "push-object"
"""The requests that ask for messages, that announce them, and that bring their parts."""

KEPT = 3
"""Orders of one node that it may still reply to."""

AGAIN = 3
"""How often a node may announce a reply, and bring its parts; an answer may get lost."""


class Unwanted(Exception):
    """A request that no honest node makes."""


@dataclass
class _Reply:
    """What a node has brought in reply to one order: the id of the message, its tree's hash, and bytes left of it."""

    root: str = ""
    shape: bytes = b""
    announced: int = 0
    left: int = 0


@dataclass
class _Sender:
    """A node's latest orders, with its replies to them, and the one that it is sending."""

    orders: dict[str, _Reply] = field(default_factory=dict)
    sending: _Reply = field(default_factory=_Reply)


@dataclass
class Guard:
    """An ASGI application before the SuperLink's handlers and behind its check of signatures: nodes are who they say.

    By itself, an open-source SuperLink takes from any node any message that says it is the server's, and any number of
    parts for one reply, which it keeps until the run ends.

    Fields:
        app: the handlers.
        store: where the SuperLink keeps messages' parts.
        answers: with how many models a client answers one.
    """

    app: App
    store: InMemoryObjectStore
    answers: int = 1
    _senders: defaultdict[int, _Sender] = field(default_factory=lambda: defaultdict(_Sender))
    _sending: int = 0
    _heaviest: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path, state = scope.get("path", ""), scope.get("state", {})
        asked = state.get("protobuf_request")
        try:
            if asked is not None:
                self._judge(path, asked)
        except Unwanted as unwanted:
            await JSONResponse({"detail": str(unwanted)}, 403)(scope, receive, send)
            return

        async def noting(event: Event) -> None:
            if path == FLEET + ASKS:
                for order in getattr(state.get("protobuf_response"), "messages_list", ()):
                    self._handed_out(asked.node.node_id, order.metadata.message_id)
            await send(event)

        await self.app(scope, receive, noting)

    @property
    def allowed(self) -> int:
        """Bytes that a reply may have: what the heaviest message had, for each answer, and a little."""
        return self.answers * self._heaviest + LITTLE

    def _judge(self, path: str, asked: Any) -> None:
        if path == RUNTIME + ANNOUNCES:
            self._sending = 0
        elif path == RUNTIME + BRINGS:
            self._sending += len(asked.object_content)
            self._heaviest = max(self._heaviest, self._sending)
        elif path == FLEET + ANNOUNCES:
            self._announced(asked)
        elif path == FLEET + BRINGS:
            sender = self._senders.get(asked.node.node_id)
            if sender is None:
                raise Unwanted("nothing was announced")
            reply = sender.sending
            reply.left -= len(asked.object_content)
            if reply.left < 0:
                raise Unwanted("the reply is too large")

    def _handed_out(self, node: int, order: str) -> None:
        orders = self._senders[node].orders
        orders.setdefault(order, _Reply())
        while len(orders) > KEPT:
            self.store.delete(orders.pop(next(iter(orders))).root)

    def _announced(self, asked: Any) -> None:
        if (len(asked.messages_list), len(asked.message_object_trees)) != (1, 1):
            raise Unwanted("one reply at a time")
        said, tree = asked.messages_list[0].metadata, asked.message_object_trees[0]
        sender = self._senders[asked.node.node_id]
        reply = sender.orders.get(said.reply_to_message_id)
        if reply is None or said.src_node_id != asked.node.node_id or said.message_id != tree.object_id:
            raise Unwanted("a node replies to its own orders")
        for count, _ in enumerate(iterate_object_tree(tree), 1):
            if count > most(self.allowed):
                raise Unwanted("the reply has too many parts")
        shape = hashlib.sha256(tree.SerializeToString(deterministic=True)).digest()
        if not reply.announced:
            reply.root, reply.shape, reply.left = tree.object_id, shape, AGAIN * self.allowed
        reply.announced += 1
        if reply.shape != shape or reply.announced > AGAIN:
            raise Unwanted("there is a reply to this order")
        sender.sending = reply
