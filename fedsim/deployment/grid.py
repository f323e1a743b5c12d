"""A Grid on our SuperLink whose ``pull_messages`` never waits."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from flwr.app import Message, Metadata

from fedsim.deployment.door import SECRET
from fedsim.flower_internals import (
    SYSTEM_MESSAGE_TYPE,
    Error,
    ErrorCode,
    HttpGrid,
    ObjectPullError,
    ObjectUnavailableError,
    RuntimeHttpClient,
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    inflate_object_from_contents,
    iterate_object_tree,
    make_message,
    make_pull_object_fn_protobuf,
    message_pb2,
    no_object_id_recompute,
    runtime_pb2,
)

if TYPE_CHECKING:
    import httpx

    from fedsim.flower_internals import message_pb2 as proto

PATIENCE = 10.0
"""Seconds after which a SuperLink that does not answer is given up."""

SLICE = 1.0
"""Seconds in which the parts of one reply are fetched before the others have their turn."""

LARGEST, MOST = 1 << 30, 10_000
"""Bytes and parts that a reply may have."""


class SecretInterceptor:
    """Shows the door's secret with each request."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        """Add the header and go on."""
        context.request.headers[SECRET] = self.secret
        return cast("httpx.Response", call_next(context))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


@dataclass
class _Arriving:
    """A reply of which not all parts are there yet."""

    head: proto.Message
    missing: list[str]
    parts: dict[str, bytes] = field(default_factory=dict)
    size: int = 0


class LinkGrid(HttpGrid):
    """Flower's Grid on a SuperLink, with two differences.

    ``pull_messages`` returns the replies that are here in full. Flower's waits, for minutes if need be, for the rest of
    one whose sender died while uploading; here it stays away until its parts are there or the SuperLink gives it up.

    A SuperLink that does not answer for ``PATIENCE`` seconds is an error; Flower's tries for ever.
    """

    def __init__(self, address: str, authority: bytes | None, token: str, secret: str, keyed: bool = False) -> None:
        super().__init__(address, authority is None, authority, token=token)
        self._retry_invoker.max_time = PATIENCE
        self._secret = secret
        self.keyed = keyed
        self._arriving: dict[str, _Arriving] = {}

    @property
    def port(self) -> int:
        """Where the SuperLink listens."""
        return int(self._addr.rpartition(":")[2])

    def proven(self) -> Mapping[int, int]:
        """The client id of each node online, by node id, as its registered key proves it; empty without keys."""
        return {node.node_id: int(node.name) for node in self.get_nodes() if node.name.isdecimal()}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As Flower's, and whole: Ctrl-C meanwhile comes after it, or nodes would wait for the rest of a message."""
        with _uninterrupted():
            return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies to ``message_ids`` that are here in full; returns at once."""
        wanted = list(message_ids)
        asked = [message_id for message_id in wanted if message_id not in self._arriving]
        if asked:
            answer = self._runtime_client.PullMessages(runtime_pb2.PullAppMessagesRequest(message_ids=asked))
            for head, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
                parts = [part.object_id for part in iterate_object_tree(tree)]
                self._arriving[head.metadata.reply_to_message_id] = _Arriving(head, parts)
        here = [message_id for message_id in wanted if message_id in self._arriving]
        return [reply for message_id in here if (reply := self._completed(message_id))]

    def forget(self, message_ids: Iterable[str]) -> None:
        """Let go of what arrived of replies that nobody waits for any more."""
        for message_id in message_ids:
            self._arriving.pop(message_id, None)

    def _completed(self, message_id: str) -> Message | None:
        arriving = self._arriving[message_id]
        pull = make_pull_object_fn_protobuf(self._runtime_client.PullObject, self.node, self._number)
        until = time.monotonic() + SLICE
        try:
            while arriving.missing and time.monotonic() < until:
                part = pull(arriving.missing[-1])
                arriving.parts[arriving.missing.pop()] = part
                arriving.size += len(part)
                if arriving.size > LARGEST or len(arriving.missing) > MOST:
                    del self._arriving[message_id]
                    return self._lost(message_id, "the reply is too large")
            if arriving.missing:
                return None  # One reply of many parts is not to hold up the others'.
        except ObjectUnavailableError:
            return None
        except ObjectPullError as error:
            del self._arriving[message_id]
            return self._lost(message_id, str(error))
        del self._arriving[message_id]
        reply_id = arriving.head.metadata.message_id
        self._runtime_client.ConfirmMessageReceived(
            message_pb2.ConfirmMessageReceivedRequest(node=self.node, run_id=self._number, message_object_id=reply_id)
        )
        try:
            with no_object_id_recompute():
                reply = cast("Message", inflate_object_from_contents(reply_id, arriving.parts))
        except Exception as error:
            # Whatever it is that its sender made: it costs that upload and nothing else.
            return self._lost(message_id, f"the reply cannot be put together: {type(error).__name__}")
        reply.metadata.__dict__["_message_id"] = reply_id
        return reply

    def _lost(self, message_id: str, reason: str) -> Message:
        """What stands for a reply that broke off, in the form that Flower gives it."""
        metadata = Metadata(
            run_id=self._number,
            message_id="",
            src_node_id=self.node.node_id,
            dst_node_id=self.node.node_id,
            message_type=SYSTEM_MESSAGE_TYPE,
            group_id="",
            ttl=0,
            reply_to_message_id=message_id,
            created_at=0,
        )
        return make_message(metadata=metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, reason))

    @property
    def _number(self) -> int:
        return self.run.run_id

    def _connect(self) -> None:
        """As Flower's, and with the secret."""
        self._client = RuntimeHttpClient.from_server_address(
            server_address=self._addr,
            insecure=self._insecure,
            root_certificates=self._cert,
            interceptors=[
                SecretInterceptor(self._secret),
                RuntimeVersionHttpInterceptor(component_name="flwr-serverapp"),
                RuntimeTokenHttpInterceptor(token=self._token),
            ],
            retry_invoker=self._retry_invoker,
        )
