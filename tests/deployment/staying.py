"""Stays with a server that answers as a test tells it to, and the answers that nodes do not like."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedsim.deployment import node
from fedsim.deployment.asking import Server
from fedsim.deployment.session import Session
from fedsim.domain import Mistake
from fedsim.flower_internals import ApiErrorCode, fleet_pb2, message_pb2
from tests.deployment.fake_link import Answer, FakeLink


def error(status: int, code: int) -> Answer:
    """An error as Flower's servers write it."""
    return status, b'{"code": %d, "detail": "So it is."}' % code


RUN_IS_OVER = error(403, ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED)
KEYS_ONLY = error(412, ApiErrorCode.FLEET_SUPERNODE_REGISTRATION_DISABLED)
NO_ENTRY = error(412, ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED)
A_PAGE = (200, b"<html>\xff a page of some other server</html>")
HANGS_UP = (0, b"")
GONE = (200, message_pb2.PullObjectResponse(object_found=False).SerializeToString())
RUBBISH = (
    200,
    message_pb2.PullObjectResponse(
        object_found=True, object_available=True, object_content=b"rubbish"
    ).SerializeToString(),
)
NOT_TAKEN = (200, fleet_pb2.PushMessagesResponse(session_id="session").SerializeToString())
NOT_STORED = (200, message_pb2.PushObjectResponse(stored=False).SerializeToString())


def app(does: Callable[[], None] = lambda: None) -> ClientApp:
    """Answers with nothing, after ``does``."""
    made = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        does()
        return Message(RecordDict(), reply_to=message)

    made.train()(answer)
    made.query()(answer)
    return made


def raising(raised: Exception) -> ClientApp:
    """Fails at every message."""

    def fail() -> None:
        raise raised

    return app(fail)


def stay(link: FakeLink, made: ClientApp, times: int) -> list[str]:
    """Ask for work so often, and return what was told."""
    told: list[str] = []
    with Session(Server(link.address), {}, told.append) as staying:
        for _ in range(times):
            staying.work(made)
    return told


def visit(link: FakeLink, patience: float = 20.0) -> list[str]:
    """Work as a node until the server says farewell, and return what was told, without the address."""
    told: list[str] = []
    try:
        node.work(app(), Server(link.address), {}, told.append, patience)
    except Mistake as mistake:
        told.append(str(mistake))
    return [line.removeprefix(f"{link.address}: ") for line in told]
