"""Nodes that do not say well who they are: nonsense, errors, silence, and answers that come late."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode

from fedsim.engine.enrolment import Enrolment
from fedsim.engine.exchange import collect
from tests.flower.echoes import echo
from tests.flower.enrolling import THREE, enrolled, saying, told
from tests.flower.grids import InProcessGrid, failed

GARBAGE = {
    "nothing": saying({}),
    "another record": saying({"klient": MetricRecord({"client": 1})}),
    "settings": saying({"client": ConfigRecord({"client": 1})}),
    "another name": saying({"client": MetricRecord({"id": 1})}),
    "half a client": saying({"client": MetricRecord({"client": 1.0})}),
    "many": saying({"client": MetricRecord({"client": [0, 1]})}),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_hello_that_says_nothing_is_told_of_once(garbage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsim.engine.enrolment.AGAIN_SECONDS", 0.0)
    grid = InProcessGrid.of(echo(), THREE, hellos={1: GARBAGE[garbage]})
    made, lines = enrolled(grid)
    assert f"node {grid.node(1)} is no client of this federation: it does not say which" in lines
    assert sorted(made.nodes) == [0, 2]
    grid.hellos = {}
    assert told(lines, made.refresh) == []


def starting(reply: Message) -> Message:
    """The answer of a node that is not ready."""
    return failed(reply, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "still\nstarting")


def test_a_node_that_answers_with_an_error_is_told_of_once_and_joins_when_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fedsim.engine.enrolment.AGAIN_SECONDS", 0.0)
    grid = InProcessGrid.of(echo(), THREE, hellos={1: starting})
    made, lines = enrolled(grid)
    node = grid.node(1)
    assert f"node {node} does not say which client it is, and is asked again: stillstarting" in lines
    assert sorted(made.nodes) == [0, 2]
    assert told(lines, made.refresh) == []
    grid.hellos = {}
    assert told(lines, made.refresh) == ["client 1 joined (3 of 3)"]
    assert made.nodes[1] == node


def test_a_node_that_answers_with_an_error_is_not_asked_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsim.engine.enrolment.AGAIN_SECONDS", 600.0)
    grid = SlowGrid.of(echo(), THREE, hellos={1: starting})
    assert isinstance(grid, SlowGrid)
    grid.answering = True
    made, _ = enrolled(grid)
    assert grid.queries == THREE
    for _ in range(3):
        made.refresh()
    assert grid.queries == THREE
    assert sorted(made.nodes) == [0, 2]


def test_a_node_that_answers_with_an_error_and_leaves_is_forgotten() -> None:
    grid = InProcessGrid.of(echo(), THREE, hellos={1: starting})
    made, lines = enrolled(grid)
    context = grid.contexts.pop(grid.node(1))
    made.refresh()
    grid.hellos = {}
    grid.contexts[context.node_id] = context
    assert told(lines, made.refresh) == ["client 1 joined (3 of 3)"]


class SlowGrid(InProcessGrid):
    """A grid that hands out no reply to a query before it is told to, and counts the queries."""

    answering = False
    queries = 0

    def push_messages(self, messages: Iterable[Message]) -> list[Any]:
        """Count."""
        messages = list(messages)
        self.queries += sum(message.metadata.message_type == MessageType.QUERY for message in messages)
        return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Nothing, until it answers."""
        return super().pull_messages(message_ids) if self.answering else []


def test_a_node_that_takes_its_time_is_asked_once_and_joins_when_it_answers() -> None:
    grid = SlowGrid.of(echo(), THREE)
    assert isinstance(grid, SlowGrid)
    made, lines = enrolled(grid)
    made.refresh()
    assert lines == []
    grid.answering = True
    assert told(lines, made.refresh)[-1] == "client 0 joined (3 of 3)"
    assert grid.queries == THREE


def test_a_node_that_is_gone_when_its_answer_comes_joins_no_more() -> None:
    grid = SlowGrid.of(echo(), THREE)
    assert isinstance(grid, SlowGrid)
    made, lines = enrolled(grid)
    del grid.contexts[grid.node(1)]
    grid.answering = True
    assert told(lines, made.refresh) == ["client 2 joined (1 of 3)", "client 0 joined (2 of 3)"]
    assert told(lines, made.refresh) == []


def test_a_node_that_never_says_who_it_is_holds_nobody_up() -> None:
    grid = InProcessGrid.of(echo(), THREE, hellos={1: lambda reply: None})
    made, lines = enrolled(grid)
    assert sorted(made.nodes) == [0, 2]
    assert not made.wait(0.3)
    grid.add(9999, 1, THREE)
    grid.hellos = {}
    assert told(lines, made.refresh) == ["client 1 joined (3 of 3)"]


def test_ctrl_c_ends_the_wait_for_nodes_and_for_replies() -> None:
    stop = threading.Event()
    made = Enrolment(InProcessGrid(echo()), THREE, stop=stop)
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        made.wait(600)
    grid = InProcessGrid.of(echo(), THREE, hellos=dict.fromkeys(range(THREE), lambda reply: None))
    orders = {client: Message(RecordDict(), grid.node(client), MessageType.QUERY) for client in range(THREE)}
    with pytest.raises(KeyboardInterrupt):
        collect(grid, orders, 600, stop)
