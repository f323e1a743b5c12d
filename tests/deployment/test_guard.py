"""The guard before the SuperLink's handlers: a node sends replies, its own, and no more than it was asked for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from intruder import named, tree

from fedsim.deployment.guard import AGAIN, KEPT, Guard
from fedsim.deployment.parts import FEW, LITTLE
from fedsim.flower_internals import InMemoryObjectStore, fleet_pb2, message_pb2, node_pb2, runtime_pb2

NODE = 7


class Asked:
    """The handlers; counts what reaches them."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.count += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})


def guarded() -> tuple[Guard, Asked, InMemoryObjectStore]:
    """A guard behind which a node got the order "order"."""
    asked, store = Asked(), InMemoryObjectStore()
    guard = Guard(asked, store)
    hand_out(guard, "order")
    return guard, asked, store


def ask(guard: Guard, path: str, request: Any) -> tuple[int, str]:
    """The answer's status, and what it says."""
    events: list[Any] = []

    async def send(event: Any) -> None:
        events.append(event)

    async def receive() -> Any:
        raise AssertionError("nothing is read twice")

    state = {} if request is None else {"protobuf_request": request}
    asyncio.run(guard({"type": "http", "path": path, "state": state}, receive, send))
    body = b"".join(event.get("body", b"") for event in events)
    return events[0]["status"], json.loads(body)["detail"] if body else ""


def hand_out(guard: Guard, *orders: str, node: int = NODE) -> None:
    """The node asks for orders and gets these, one by one."""
    handlers = guard.app
    for order in orders:

        async def handled(scope: Any, receive: Any, send: Any, order: str = order) -> None:
            heads = [message_pb2.Message(metadata=message_pb2.Metadata(message_id=order))]
            scope["state"]["protobuf_response"] = fleet_pb2.PullMessagesResponse(messages_list=heads)
            await send({"type": "http.response.start", "status": 200, "headers": []})

        guard.app = handled
        request = fleet_pb2.PullMessagesRequest(node=node_pb2.Node(node_id=node))
        assert ask(guard, "/v1/fleet/pull-messages", request) == (200, "")
    guard.app = handlers


def reply(name: str, *held: Any, node: int = NODE, **changed: Any) -> Any:
    """The announcement of a reply to the order "order"."""
    metadata = {"message_id": name, "reply_to_message_id": "order", "src_node_id": node, **changed}
    return fleet_pb2.PushMessagesRequest(
        node=node_pb2.Node(node_id=node),
        messages_list=[message_pb2.Message(metadata=message_pb2.Metadata(**metadata))],
        message_object_trees=[tree(name, *held)],
    )


def push(guard: Guard, request: Any) -> tuple[int, str]:
    return ask(guard, "/v1/fleet/push-messages", request)


def bring(guard: Guard, size: int, path: str = "/v1/fleet/push-object", node: int = NODE) -> tuple[int, str]:
    request = message_pb2.PushObjectRequest(node=node_pb2.Node(node_id=node), object_content=bytes(size))
    return ask(guard, path, request)


def sends(guard: Guard, *sizes: int) -> None:
    """The Grid sends a message of these parts."""
    ask(guard, "/v1/runtime/push-messages", runtime_pb2.PushAppMessagesRequest())
    for size in sizes:
        assert bring(guard, size, "/v1/runtime/push-object", node=1) == (200, "")


def test_a_reply_passes() -> None:
    guard, asked, _ = guarded()
    assert push(guard, reply(named(b"a"), tree(named(b"b")))) == (200, "")
    assert bring(guard, 1000) == (200, "")
    assert asked.count == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"src_node_id": 1, "reply_to_message_id": ""},
        {"reply_to_message_id": ""},
        {"reply_to_message_id": "another's order"},
        {"src_node_id": 8},
        {"message_id": "x"},
    ],
    ids=["an order", "no reply", "another's order", "another's reply", "another tree's"],
)
def test_what_is_no_reply_to_its_own_order_does_not(changed: dict[str, Any]) -> None:
    guard, asked, _ = guarded()
    hand_out(guard, "another's order", node=8)
    assert push(guard, reply(named(b"a"), **changed)) == (403, "a node replies to its own orders")
    assert asked.count == 0


def test_nor_do_none_or_two() -> None:
    guard, _, _ = guarded()
    twice = reply(named(b"a"))
    twice.MergeFrom(reply(named(b"b")))
    for request in (twice, fleet_pb2.PushMessagesRequest()):
        assert push(guard, request) == (403, "one reply at a time")


def test_nor_does_one_of_many_parts() -> None:
    guard, _, _ = guarded()
    leaf = tree(named(b"leaf"))
    assert push(guard, reply(named(b"a"), *[leaf] * (FEW + 1))) == (403, "the reply has too many parts")
    sends(guard, 4 * LITTLE)
    assert push(guard, reply(named(b"a"), *[leaf] * (FEW + 1))) == (200, "")


def test_a_reply_may_be_as_large_as_what_was_sent() -> None:
    guard, _, _ = guarded()
    push(guard, reply(named(b"a")))
    assert bring(guard, AGAIN * LITTLE) == (200, "")
    assert bring(guard, 1) == (403, "the reply is too large")
    sends(guard, 3 * LITTLE, 2 * LITTLE)
    sends(guard, LITTLE)
    hand_out(guard, "next")
    push(guard, reply(named(b"b"), reply_to_message_id="next"))
    for _ in range(AGAIN * 6):
        assert bring(guard, LITTLE) == (200, "")
    assert bring(guard, 1) == (403, "the reply is too large")


def test_where_clients_answer_with_several_models_a_reply_may_be_as_large_as_these() -> None:
    guard, _, _ = guarded()
    guard.answers = 3
    sends(guard, 2 * LITTLE)
    push(guard, reply(named(b"a")))
    for _ in range(AGAIN * 7):
        assert bring(guard, LITTLE) == (200, "")
    assert bring(guard, 1) == (403, "the reply is too large")


def test_parts_of_no_reply_do_not_pass() -> None:
    guard, asked, _ = guarded()
    assert bring(guard, 1) == (403, "the reply is too large")
    assert asked.count == 0


def test_a_reply_may_be_announced_again_but_not_with_other_parts() -> None:
    guard, _, _ = guarded()
    push(guard, reply(named(b"a"), tree(named(b"b"))))
    bring(guard, AGAIN * LITTLE)
    for _ in range(AGAIN - 1):
        assert push(guard, reply(named(b"a"), tree(named(b"b")))) == (200, "")
    assert bring(guard, 1) == (403, "the reply is too large")
    assert push(guard, reply(named(b"a"), tree(named(b"b")))) == (403, "there is a reply to this order")


@pytest.mark.parametrize("other", [reply(named(b"a"), tree(named(b"c"))), reply(named(b"d"), tree(named(b"b")))])
def test_nor_is_there_a_second_reply(other: Any) -> None:
    guard, _, _ = guarded()
    push(guard, reply(named(b"a"), tree(named(b"b"))))
    assert push(guard, other) == (403, "there is a reply to this order")


def test_of_one_node_only_the_latest_replies_are_kept() -> None:
    guard, _, store = guarded()
    hand_out(guard, "order", node=8)
    for node, count, order in [(8, 0, "order"), *((NODE, count, f"order {count}") for count in range(1, 6))]:
        hand_out(guard, order, node=node)
        name = named(b"%d" % count)
        request = reply(name, tree(named(b"part of %d" % count)), node=node, reply_to_message_id=order)
        assert push(guard, request) == (200, "")
        store.preregister(1, request.message_object_trees[0])
    assert [count for count in range(6) if named(b"%d" % count) in store] == [0, *range(6 - KEPT, 6)]
    assert [count for count in range(6) if named(b"part of %d" % count) in store] == [0, *range(6 - KEPT, 6)]


def test_other_requests_pass() -> None:
    guard, asked, _ = guarded()
    for path in ("/v1/fleet/pull-messages", "/v1/fleet/push-messages", "/health"):
        assert ask(guard, path, None) == (200, "")
    assert asked.count == 3
