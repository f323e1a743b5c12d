"""Work at a server that fails or is not taken: told in one line, and the next is worked on."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
from flwr.app import Message

from fedsim.deployment.asking import LONGEST, Server
from fedsim.deployment.session import Session
from fedsim.domain import Mistake
from fedsim.flower_internals import fleet_pb2, message_pb2
from tests.deployment.fake_link import Answer, FakeLink, hello, order
from tests.deployment.loopback import HERE, Federation, Processes
from tests.deployment.staying import GONE, NOT_STORED, NOT_TAKEN, RUBBISH, RUN_IS_OVER, app, raising, stay


@pytest.mark.parametrize(
    ("message", "raised", "line"),
    [
        (order(3), ValueError("no data today"), "round 3: the work failed: ValueError: no data today"),
        (order(3), ValueError(), "round 3: the work failed: ValueError"),
        (order(3), Mistake("data.root: no MNIST"), "round 3: the work failed: data.root: no MNIST"),
        (order(3), OSError("a\n  b\x1b[2J\tc\u202ed"), "round 3: the work failed: OSError: a b[2J cd"),
        (hello(), KeyError("partition-id"), "the work failed: KeyError: 'partition-id'"),
        (order(3), ValueError("x" * 9999), "round 3: the work failed: ValueError: " + "x" * (LONGEST - 12) + "..."),
    ],
)
def test_work_that_fails_is_told_where_it_failed(
    link: FakeLink, message: Message, raised: Exception, line: str
) -> None:
    link.messages.append(message)
    assert stay(link, raising(raised), 1) == [line]
    (reply,) = link.taken
    assert reply.error.reason == line.partition("failed: ")[2]


@pytest.mark.parametrize(
    ("request_", "answer", "reason"),
    [
        ("pull-object", RUN_IS_OVER, "its run is over"),
        ("pull-object", GONE, "not all its parts came"),
        ("pull-object", RUBBISH, ""),
        ("confirm-message-received", RUN_IS_OVER, "its run is over"),
        (
            "pull-messages",
            (200, fleet_pb2.PullMessagesResponse(messages_list=[message_pb2.Message()]).SerializeToString()),
            "",
        ),
    ],
)
def test_a_message_that_cannot_be_fetched_is_told_and_the_next_is_worked_on(
    link: FakeLink, request_: str, answer: Answer, reason: str
) -> None:
    link.says[request_] = deque([answer])
    link.messages += [order(1), order(2)]
    (line,) = stay(link, app(), 2)
    assert line.startswith(f"a message could not be fetched: {reason}")
    assert len(link.taken) == 1


def test_messages_that_cannot_be_fetched_are_not_asked_for_without_pause(link: FakeLink) -> None:
    link.says["pull-object"] = deque([GONE] * 100)
    link.messages += [order(number) for number in range(4)]
    with Session(Server(link.address), {}, print) as staying:
        assert [staying.work(app()) for _ in range(4)] == [False] * 4


@pytest.mark.parametrize(
    ("request_", "answer", "reason"),
    [
        ("push-messages", RUN_IS_OVER, "its run is over"),
        ("push-messages", (413, b""), "it is too large"),
        ("push-object", (413, b""), "it is too large"),
        ("push-messages", NOT_TAKEN, "it came too late"),
        ("push-object", RUN_IS_OVER, "its run is over"),
        ("push-object", NOT_STORED, "it came too late"),
    ],
)
def test_a_reply_that_is_not_taken_is_told(link: FakeLink, request_: str, answer: Answer, reason: str) -> None:
    link.says[request_] = deque([answer])
    link.messages.append(order(3))
    assert stay(link, app(), 2) == [f"round 3: the reply was not taken: {reason}"]


@pytest.mark.slow
def test_a_real_server_s_client_hears_that_its_reply_was_too_late(plain: Federation, tmp_path: Path) -> None:
    late = tmp_path / "late.py"
    late.write_text(
        f"import sys, time\nsys.path.insert(0, {str(HERE)!r})\nimport nodes\n"
        "work = nodes.app('honest', 2)\n"
        "def slow(message, context):\n"
        "    time.sleep(2 if message.metadata.message_type == 'train' else 0)\n"
        "    return work(message, context)\n"
        "nodes.node.work(slow, nodes.session.Server(sys.argv[1]), {}, lambda line: print(line, flush=True), 60.0)\n",
        encoding="utf-8",
    )
    processes = Processes(tmp_path)
    try:
        process = processes.start(late, plain.address)
        plain.joined(2)
        uploads, _ = plain.round(0, 2, seconds=1.0)
        assert uploads.clients.tolist() == [0]
        process.wait_for("round 1: the reply was not taken: it came too late")
    finally:
        processes.end()
