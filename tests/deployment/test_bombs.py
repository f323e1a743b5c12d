"""Replies that are small on the wire and large in memory: they cost their sender its upload, and the server nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from intruder import named, part, tree

from fedsim.deployment import parts as parts_module
from fedsim.deployment.grid import LinkGrid
from fedsim.deployment.parts import FEW, LITTLE, fits
from fedsim.flower_internals import HttpGrid, get_all_nested_objects, message_pb2, node_pb2, runtime_pb2
from fedsim.transport import encode

MEBI = 1 << 20


def deflated(thing: Any) -> dict[str, bytes]:
    """An object of Flower's and all that it holds, as parts."""
    return {name: held.deflate() for name, held in get_all_nested_objects(thing).items()}


def array(*pieces: bytes, named_as: Iterable[int]) -> bytes:
    """An array of these pieces, in this order."""
    said = {"dtype": "float32", "shape": [1], "stype": "numpy.ndarray", "arraychunk_ids": list(named_as)}
    return part("Array", [named(piece) for piece in pieces], json.dumps(said).encode())


def by_name(*contents: bytes) -> dict[str, bytes]:
    return {named(content): content for content in contents}


@pytest.mark.parametrize("row", [np.zeros(4 * MEBI, "float32"), np.arange(3 * MEBI, dtype="float32")])
def test_what_flower_makes_of_a_row_fits(row: np.ndarray) -> None:
    """Of zeros it makes two pieces, of which one is named three times."""
    content = RecordDict({"arrays": ArrayRecord({"theta": encode(row)}), "metrics": MetricRecord({"loss": 0.5})})
    assert fits(deflated(content), row.nbytes + LITTLE)
    assert not fits(deflated(content), row.nbytes - 1)


def test_a_piece_counts_as_often_as_it_is_named() -> None:
    piece = part("ArrayChunk", [], b"x" * 1000)
    once, often = array(piece, named_as=[0]), array(piece, named_as=[0] * 1000)
    assert fits(by_name(piece, once), 2000)
    assert not fits(by_name(piece, often), 999_999)
    assert fits(by_name(piece, often), 1_100_000)


def test_a_piece_may_be_named_from_the_end() -> None:
    piece = part("ArrayChunk", [], b"x" * 1000)
    assert not fits(by_name(piece, array(piece, named_as=[-1] * 1000)), 999_999)


def test_arrays_count_together() -> None:
    piece = part("ArrayChunk", [], b"x" * 1000)
    arrays = [array(piece, named_as=[0] * count) for count in range(1, 101)]
    assert not fits(by_name(piece, *arrays), 5_000_000)


def test_an_array_of_arrays_is_none() -> None:
    piece = part("ArrayChunk", [], b"x" * 1000)
    inner = array(piece, named_as=[0] * 10)
    with pytest.raises(KeyError):
        fits(by_name(piece, inner, array(inner, named_as=[0] * 10)), 1 << 40)


@pytest.mark.parametrize(
    "record", [MetricRecord({"losses": [-50] * MEBI}), ConfigRecord({"names": [""] * MEBI})], ids=["metrics", "config"]
)
def test_figures_and_names_are_few(record: Any) -> None:
    """A list of a million numbers below 64 takes a byte for each on the wire."""
    assert not fits(deflated(RecordDict({"record": record})), 1 << 40)


class Link:
    """A SuperLink that hands out one reply; what was asked of it, and what was let go."""

    def __init__(self, parts: dict[str, bytes], root: str, held: list[str]) -> None:
        self.parts, self.root, self.held = parts, root, held
        self.pulled: list[str] = []
        self.confirmed: list[str] = []
        self.stumbles = ""

    def _stumble(self, name: str) -> None:
        if self.stumbles == name:
            request = httpx.Request("POST", "http://link")
            raise httpx.HTTPStatusError("", request=request, response=httpx.Response(500, request=request))

    def PullMessages(self, request: Any) -> Any:
        self._stumble("PullMessages")
        metadata = message_pb2.Metadata(message_id=self.root, reply_to_message_id="order")
        trees = [tree(self.root, *(tree(name) for name in self.held))]
        heads = [message_pb2.Message(metadata=metadata)]
        return runtime_pb2.PullAppMessagesResponse(messages_list=heads, message_object_trees=trees)

    def PullObject(self, request: Any) -> Any:
        self._stumble("PullObject")
        self.pulled.append(request.object_id)
        return message_pb2.PullObjectResponse(
            object_found=True, object_available=True, object_content=self.parts[request.object_id]
        )

    def ConfirmMessageReceived(self, request: Any) -> Any:
        self._stumble("ConfirmMessageReceived")
        self.confirmed.append(request.message_object_id)


class Run:
    run_id = 1


def reply(*parts: bytes, content: bytes) -> Link:
    """A SuperLink with a reply that holds ``content``, and ``parts`` under it."""
    metadata = message_pb2.Metadata(src_node_id=2, dst_node_id=1, reply_to_message_id="order", message_type="train")
    root = part("Message", [named(content)], message_pb2.Message(metadata=metadata).SerializeToString())
    return Link(by_name(*parts, content, root), named(root), [named(each) for each in (content, *parts)])


def grid(link: Link, largest: int = 0, answers: int = 1) -> LinkGrid:
    made = LinkGrid("127.0.0.1:1", None, "token", "secret", answers=answers)
    made._client = link  # type: ignore[assignment]
    made._largest = largest
    return made


def pulled(made: LinkGrid) -> Any:
    with patch.object(LinkGrid, "run", Run):
        (found,) = made.pull_messages(["order"])
        assert made._arriving == {}
    return found


def record_of(theta: bytes, *pieces: bytes) -> Link:
    """A SuperLink with a reply that holds the array ``theta`` as a client's row."""
    record = part("ArrayRecord", [named(theta)], json.dumps({"theta": named(theta)}).encode())
    content = part("RecordDict", [named(record)], json.dumps({"arrays": named(record)}).encode())
    return reply(record, theta, *pieces, content=content)


def test_who_is_asked_for_several_models_may_send_as_many() -> None:
    piece = part("ArrayChunk", [], b"x" * 2 * MEBI)
    link = record_of(array(piece, named_as=[0] * 6), piece)
    assert pulled(grid(link, 4 * MEBI, answers=3)).has_content()
    assert pulled(grid(link, 4 * MEBI, answers=2)).has_error()


def test_a_row_comes_through() -> None:
    piece = part("ArrayChunk", [], b"x" * 2 * MEBI)
    link = record_of(array(piece, named_as=[0, 0]), piece)
    found = pulled(grid(link, 4 * MEBI))
    assert found.content.array_records["arrays"]["theta"].data == b"x" * 4 * MEBI
    assert link.confirmed == [link.root]


def test_a_bomb_is_not_put_together() -> None:
    """Five hundred KiB on the wire, two GiB in memory."""
    piece = part("ArrayChunk", [], b"x" * 400_000)
    link = record_of(array(piece, named_as=[0] * 5_000), piece)
    with patch.object(parts_module, "inflate_object_from_contents", side_effect=AssertionError("put together")):
        found = pulled(grid(link))
    assert found.error.reason == "the reply is too large"
    assert found.metadata.reply_to_message_id == "order"
    assert link.confirmed == [link.root]


def test_no_more_is_fetched_than_was_asked_for() -> None:
    pieces = [part("ArrayChunk", [], bytes([count]) * MEBI) for count in range(8)]
    link = record_of(array(*pieces, named_as=range(8)), *pieces)
    assert pulled(grid(link, MEBI)).error.reason == "the reply is too large"
    assert len(link.pulled) == 3
    assert pulled(grid(link, 8 * MEBI)).has_content()


def test_a_reply_of_many_parts_is_not_fetched_at_all() -> None:
    link = reply(*(part("ArrayChunk", [], b"%d" % count) for count in range(FEW)), content=part("RecordDict", [], b""))
    assert pulled(grid(link)).error.reason == "the reply is too large"
    assert link.pulled == []


def test_a_part_that_is_named_often_is_fetched_once() -> None:
    piece = part("ArrayChunk", [], b"x" * 1000)
    link = record_of(array(piece, named_as=[0]), piece)
    link.held += [named(piece)] * 1000
    assert pulled(grid(link)).has_content()
    assert len(link.pulled) == len(set(link.pulled))


def test_the_largest_message_sent_is_what_a_reply_may_be() -> None:
    class Sent:
        def __init__(self, *arrays: Array) -> None:
            self.content = RecordDict({f"{count}": ArrayRecord({"a": each}) for count, each in enumerate(arrays)})

        def has_content(self) -> bool:
            return True

    made = grid(reply(content=b""))
    with patch("fedsim.deployment.grid.HttpGrid.push_messages", return_value=[]) as pushed:
        made.push_messages(iter([Sent(encode(np.zeros(1000, "float32")), encode(np.zeros(10, "float32")))]))
        made.push_messages([Sent()])
    assert 4040 < made._largest < 4400
    assert len(pushed.call_args_list[0].args[0]) == 1


@pytest.mark.parametrize(
    "content",
    [
        part("ArrayRecord", [], b"{}"),
        part("RecordDict", [], b"[" * 100_000),
        part("RecordDict", [], b'{"shape": 1' + b"0" * 100_000 + b"}"),
        part("Nothing", [], b""),
        b"no part at all",
    ],
    ids=["another thing", "nested", "long number", "unknown", "garbage"],
)
def test_what_is_no_message_of_records_is_lost(content: bytes) -> None:
    assert pulled(grid(reply(content=content))).error.reason.startswith("the reply cannot be put together: ")


def test_a_record_that_says_it_is_a_message_is_lost() -> None:
    content = part("RecordDict", [], b"{}")
    link = Link(by_name(content), named(content), [])
    assert pulled(grid(link)).error.reason == "the reply cannot be put together: TypeError"


@pytest.mark.parametrize("request_name", ["PullMessages", "PullObject"])
def test_a_reply_over_which_the_superlink_stumbles_ends_no_run(request_name: str) -> None:
    link = reply(content=part("RecordDict", [], b"{}"))
    link.stumbles = request_name
    assert pulled(grid(link)).error.reason == "the SuperLink cannot hand it out"


def test_one_that_stumbles_over_letting_go_has_handed_it_out() -> None:
    link = reply(content=part("RecordDict", [], b"{}"))
    link.stumbles = "ConfirmMessageReceived"
    assert pulled(grid(link)).has_content()


def test_a_reply_nobody_waits_for_is_let_go_of_on_the_superlink_too() -> None:
    link = reply(content=part("RecordDict", [], b"{}"))
    made = grid(link)
    with patch.object(LinkGrid, "run", Run):
        made._ask(["order"])
        made.forget(["order", "another"])
    assert link.confirmed == [link.root]
    assert made._arriving == {}


def test_what_nobody_asked_for_is_not_kept() -> None:
    made = grid(reply(content=part("RecordDict", [], b"{}")))
    with patch.object(LinkGrid, "run", Run):
        assert made.pull_messages(["another order"]) == []
    assert made._arriving == {}


@pytest.mark.parametrize(("present", "left"), [([2], 1), ([3], 0)], ids=["there", "gone"])
def test_what_a_node_began_to_send_goes_with_it(present: list[int], left: int) -> None:
    made = grid(reply(content=part("RecordDict", [], b"{}")))
    nodes = [node_pb2.NodeInfo(node_id=node) for node in present]
    with patch.object(LinkGrid, "run", Run), patch.object(HttpGrid, "get_nodes", return_value=nodes):
        made._ask(["order"])
        made._arriving["order"].head.metadata.src_node_id = 2
        assert made.get_node_ids() == present
    assert len(made._arriving) == left
