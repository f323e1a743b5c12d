"""One stay of a node with a server: let in, asked for work, replied to, signs of life given, left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

from flwr.app import Context, Message, RecordDict

from fedsim.deployment import FAREWELL
from fedsim.deployment.keys import load_pair
from fedsim.domain import Mistake
from fedsim.flower_internals import (
    ApiErrorCode,
    Error,
    ErrorCode,
    FleetHttpClient,
    FlowerError,
    NodeAuthHttpInterceptor,
    ObjectPullError,
    ObjectPushError,
    RuntimeVersionHttpInterceptor,
    TaskIdentity,
    fleet_pb2,
    generate_key_pairs,
    get_all_nested_objects,
    get_object_tree,
    heartbeat_pb2,
    inflate_object_from_contents,
    iterate_object_tree,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
    message_from_proto,
    message_pb2,
    message_to_proto,
    no_object_id_recompute,
    node_pb2,
    public_key_to_bytes,
    pull_objects,
    push_objects,
    remove_content_from_message,
)

if TYPE_CHECKING:
    import httpx
    from flwr.clientapp import ClientApp

LIFE = 10.0
"""Seconds the server is asked to expect a sign of life in; after twice that in silence a node counts as gone."""

BEAT = 4.0
"""Seconds between two of them."""

FETCHING, AGAIN = 60.0, 0.02
"""Seconds a message's parts may take to arrive, and after which the missing ones are first asked for again."""


@dataclass(frozen=True)
class Server:
    """Where to, and by which keys.

    Fields:
        address: host:port.
        authority: PEM of the certificate that signed the server's; None without TLS.
        key: path of this node's private key; None where the server asks for none.
    """

    address: str
    authority: bytes | None = None
    key: Path | None = None


class Away(Exception):
    """The server cannot be reached, or does not know this node any more; it may come back."""


class Farewell(Exception):
    """The server has no more work."""


class Withdrawn(Exception):
    """The server does not want this message's work any more."""


class Session:
    """One stay with a server, from being let in to leaving; a context manager.

    Raises Away when the server is gone, and Mistake when it will never let this node in.
    """

    def __init__(self, server: Server, node_config: Mapping[str, str | int]) -> None:
        self.server = server
        self.node_config: dict[str, bool | float | int | str] = dict(node_config)
        private, public = generate_key_pairs() if server.key is None else load_pair(server.key)
        self._public = public_key_to_bytes(public)
        self._client = FleetHttpClient.from_server_address(
            server.address,
            server.authority is None,
            server.authority,
            [RuntimeVersionHttpInterceptor("SuperNode"), NodeAuthHttpInterceptor(private, public)],
        )
        self._contexts: dict[int, Context] = {}
        self._left = threading.Event()

    def __enter__(self) -> Self:
        with _asking(self.server):
            if self.server.key is None:
                self._client.RegisterNode(fleet_pb2.RegisterNodeFleetRequest(public_key=self._public))
            entered = self._client.ActivateNode(
                fleet_pb2.ActivateNodeRequest(public_key=self._public, heartbeat_interval=LIFE)
            )
        self.node = node_pb2.Node(node_id=entered.node_id)
        TaskIdentity.node_id = entered.node_id
        TaskIdentity.task_id = 0
        threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import httpx

        self._left.set()
        if not isinstance(error, Away):
            try:
                self._client.DeactivateNode(fleet_pb2.DeactivateNodeRequest(node_id=self.node.node_id))
                if self.server.key is None:
                    self._client.UnregisterNode(fleet_pb2.UnregisterNodeFleetRequest(node_id=self.node.node_id))
            except (httpx.HTTPError, RuntimeError):
                pass  # It will notice.
        self._client.close()

    def work(self, app: ClientApp) -> bool:
        """Do one message's work if there is any; whether there was. Raises Farewell at the end."""
        farewell = False
        try:
            with _asking(self.server):
                message = self._receive()
            if message is None:
                return False
            farewell = message.metadata.message_type == FAREWELL
            reply = Message(RecordDict(), reply_to=message) if farewell else self._done(app, message)
            with _asking(self.server):
                self._send(reply)
        except Withdrawn:
            pass  # It came too late for its round.
        if farewell:
            raise Farewell
        return True

    def _done(self, app: ClientApp, message: Message) -> Message:
        run = message.metadata.run_id
        context = self._contexts.setdefault(run, Context(run, self.node.node_id, self.node_config, RecordDict(), {}))
        try:
            return app(message, context)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)

    def _receive(self) -> Message | None:
        answer = self._client.PullMessages(fleet_pb2.PullMessagesRequest(node=self.node))
        if not answer.messages_list:
            return None
        head, tree = message_from_proto(answer.messages_list[0]), answer.message_object_trees[0]
        run = head.metadata.run_id
        TaskIdentity.run_id = run
        parts = pull_objects(
            [part.object_id for part in iterate_object_tree(tree)],
            make_pull_object_fn_protobuf(self._client.PullObject, self.node, run),
            max_time=FETCHING,
            initial_backoff=AGAIN,
        )
        self._client.ConfirmMessageReceived(
            message_pb2.ConfirmMessageReceivedRequest(node=self.node, run_id=run, message_object_id=tree.object_id)
        )
        message = cast("Message", inflate_object_from_contents(tree.object_id, parts))
        message.metadata.__dict__["_message_id"] = tree.object_id
        return message

    def _send(self, reply: Message) -> None:
        run = reply.metadata.run_id
        reply.metadata.__dict__["_message_id"] = reply.object_id
        with no_object_id_recompute():
            answer = self._client.PushMessages(
                fleet_pb2.PushMessagesRequest(
                    node=self.node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                )
            )
            push_objects(
                get_all_nested_objects(reply),
                make_push_object_fn_protobuf(self._client.PushObject, self.node, run, answer.session_id),
                object_ids_to_push=set(answer.objects_to_push),
            )

    def _live(self) -> None:
        import httpx

        while not self._left.wait(BEAT):
            try:
                self._client.SendNodeHeartbeat(
                    heartbeat_pb2.SendNodeHeartbeatRequest(node=self.node, heartbeat_interval=LIFE)
                )
            except (httpx.HTTPError, RuntimeError):
                continue  # The work itself will tell.


@contextlib.contextmanager
def _asking(server: Server) -> Iterator[None]:
    """Turns what goes wrong while asking the server into Away or Mistake."""
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            raise Mistake(
                f"{server.address}: its certificate is not vouched for by the ca.crt of --tls: {text}"
            ) from error
        if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER" in text:
            raise Mistake(f"{server.address}: speaks no TLS; leave out --tls, or serve with it") from error
        hint = "" if server.authority else "; does it speak TLS? then join with --tls"
        disconnected = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)
        raise Away(f"cannot be reached ({text}){hint if disconnected else ''}") from error
    except httpx.HTTPStatusError as error:
        raise _refusal(server, error) from error
    except (ObjectPullError, ObjectPushError) as error:
        raise Withdrawn from error


def _refusal(server: Server, error: httpx.HTTPStatusError) -> Exception:
    status = error.response.status_code
    reason = FlowerError.from_json(error.response.text)
    code = None if reason is None else reason.code
    if code == ApiErrorCode.FLEET_SUPERNODE_REGISTRATION_DISABLED:
        return Mistake(f"{server.address}: lets in registered keys only; join with --tls DIR")
    if code == ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED:
        return Away(
            "does not let this client in: its key is not registered there, or another process uses it "
            f"(one that was killed counts for {2 * LIFE:g} seconds)"
        )
    if status == 401:
        return Away("does not accept this node's signature: it was started anew, or a clock is wrong")
    if status == 403:
        return Withdrawn()
    if status == 503:
        return Away("is not ready yet")
    return Away(f"answered {status}" + (f" ({reason.message})" if reason else ""))
