"""A Grid on our SuperLink whose ``pull_messages`` never waits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from flwr.app import Message

from fedsim.deployment.door import SECRET
from fedsim.deployment.parts import LITTLE, Arriving, Unusable, lost, numbers
from fedsim.flower_internals import (
    HttpGrid,
    ObjectPullError,
    ObjectUnavailableError,
    RuntimeHttpClient,
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    make_pull_object_fn_protobuf,
    message_pb2,
    runtime_pb2,
)

if TYPE_CHECKING:
    import httpx

    from fedsim.flower_internals import node_pb2

PATIENCE = 10.0
"""Seconds after which a SuperLink that does not answer is given up."""


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


class LinkGrid(HttpGrid):
    """Flower's Grid on a SuperLink, with three differences.

    ``pull_messages`` returns the replies that are here in full. Flower's waits, for minutes if need be, for the rest of
    one whose sender died while uploading; here it stays away until its parts are there or the SuperLink gives it up.

    A SuperLink that does not answer for ``PATIENCE`` seconds is an error; Flower's tries for ever.

    A reply may have as many numbers as the largest message that was sent, ``answers`` times, for clients answer a model
    with so many, and ``LITTLE`` beside them. Flower's takes what comes, and makes a few thousand bytes fill the memory
    if their sender likes. A part comes as a whole, and its size is known then: the door lets through none above 8 MiB.

    Fields:
        keyed: whether each node is the client that its registered key is of, and ``proven`` tells which. Of a Grid that
            has no such field, as one of a stock SuperLink has not, a node is whichever client it says it is: any node
            that is let in there can take the place of one that is not there.
    """

    keyed: bool

    def __init__(
        self, address: str, authority: bytes | None, token: str, secret: str, keyed: bool = False, answers: int = 1
    ) -> None:
        super().__init__(address, authority is None, authority, token=token)
        self._retry_invoker.max_time = PATIENCE
        self._retry_invoker.should_giveup = _impatient(self._retry_invoker.should_giveup)
        self._secret = secret
        self.keyed = keyed
        self._arriving: dict[str, Arriving] = {}
        self._largest, self._answers = 0, answers

    @property
    def port(self) -> int:
        """Where the SuperLink listens."""
        return int(self._addr.rpartition(":")[2])

    def proven(self) -> Mapping[int, int]:
        """The client id of each node online, by node id, as its registered key proves it; empty without keys."""
        return {node.node_id: int(node.name) for node in self.get_nodes() if node.name.isdecimal()}

    def get_nodes(self) -> list[node_pb2.NodeInfo]:
        """The nodes online; what the others began to send is forgotten."""
        nodes = list(super().get_nodes())
        present = {self.node.node_id, *(node.node_id for node in nodes)}
        arriving = self._arriving.items()
        self.forget([message_id for message_id, reply in arriving if reply.head.metadata.src_node_id not in present])
        return nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As Flower's, and whole: Ctrl-C meanwhile comes after it, or nodes would wait for the rest of a message."""
        sent = list(messages)
        self._largest = max([self._largest, *(numbers(message) for message in sent)])
        with _uninterrupted():
            return super().push_messages(sent)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies to ``message_ids`` that are here in full; returns at once."""
        wanted = list(message_ids)
        asked = [message_id for message_id in wanted if message_id not in self._arriving]
        gone = self._ask(asked) if asked else []
        here = [message_id for message_id in wanted if message_id in self._arriving]
        return gone + [reply for message_id in here if (reply := self._completed(message_id))]

    def forget(self, message_ids: Iterable[str]) -> None:
        """Let go of replies that nobody waits for any more, here and on the SuperLink."""
        import httpx

        for message_id in message_ids:
            arriving = self._arriving.pop(message_id, None)
            if arriving is None:
                continue
            reply_id = arriving.head.metadata.message_id
            request = message_pb2.ConfirmMessageReceivedRequest(
                node=self.node, run_id=self._number, message_object_id=reply_id
            )
            try:
                self._runtime_client.ConfirmMessageReceived(request)
            except httpx.HTTPStatusError as error:
                if not _stumbled(error):
                    raise

    def _ask(self, message_ids: list[str]) -> list[Message]:
        """Take note of the replies that have begun to arrive; what stands for those that never will."""
        import httpx

        try:
            answer = self._runtime_client.PullMessages(runtime_pb2.PullAppMessagesRequest(message_ids=message_ids))
        except (httpx.HTTPStatusError, ValueError) as error:
            if not _stumbled(error):
                raise
            if len(message_ids) > 1:
                return [reply for message_id in message_ids for reply in self._ask([message_id])]
            return [self._lost(message_ids[0])]
        for head, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
            if head.metadata.reply_to_message_id in message_ids:
                self._arriving[head.metadata.reply_to_message_id] = Arriving.of(head, tree)
        return []

    def _completed(self, message_id: str) -> Message | None:
        """The reply if it is here in full, or what stands for one that never will be."""
        import httpx

        arriving, allowed = self._arriving[message_id], self._answers * self._largest + LITTLE
        pull = make_pull_object_fn_protobuf(self._runtime_client.PullObject, self.node, self._number)
        try:
            if not arriving.fetch(pull, allowed):
                return None  # One reply of many parts is not to hold up the others'.
            found = arriving.message(allowed)
        except ObjectUnavailableError:
            return None
        except (ObjectPullError, Unusable) as error:
            found = self._lost(message_id, str(error))
        except httpx.HTTPStatusError as error:
            if not _stumbled(error):
                raise
            found = self._lost(message_id)
        self.forget([message_id])
        return found

    def _lost(self, message_id: str, reason: str = "the SuperLink cannot hand it out") -> Message:
        return lost(self._number, self.node.node_id, message_id, reason)

    @property
    def _number(self) -> int:
        return self.run.run_id

    def _connect(self) -> None:
        """As Flower's, with the secret, and for ``PATIENCE`` at most."""
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
        self._client._client.timeout = PATIENCE


def _impatient(giving_up: Callable[[Exception], bool] | None) -> Callable[[Exception], bool]:
    """Flower's reasons not to try again, and one more: there was no answer in all the time that there is."""
    import httpx

    def gives_up(error: Exception) -> bool:
        return isinstance(error, httpx.TimeoutException) or (giving_up is not None and giving_up(error))

    return gives_up


def _stumbled(error: Exception) -> bool:
    """Whether the SuperLink is well, and could make nothing of the one message that it was asked about."""
    import httpx

    return not isinstance(error, httpx.HTTPStatusError) or error.response.status_code == 500
