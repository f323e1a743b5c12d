"""Who is sent an order, and whose reply is whose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from flwr.app import Message

from fedsim.domain import Drop
from fedsim.engine.enrolment import Enrolment
from fedsim.engine.exchange import ONCE
from fedsim.engine.grid import GridCarrier
from fedsim.engine.round import play_round
from strategies import Mean
from tests.flower.echoes import COUNT, D, echo, sent, world
from tests.flower.enrolling import THREE
from tests.flower.grids import InProcessGrid


class TerseGrid(InProcessGrid):
    """As Flower's simulation: no id for a message to a node that is gone."""

    def push_messages(self, messages: Iterable[Message]) -> list[Any]:
        """The ids of the others, in another order."""
        return [message for message in super().push_messages(messages) if message][::-1]


class MuteGrid(InProcessGrid):
    """As Flower's Grid when a SuperLink finds the messages too large."""

    saying: tuple[Any, ...] = ()

    def push_messages(self, messages: Iterable[Message]) -> list[Any]:
        """No ids, or made up ones."""
        super().push_messages(messages)
        return list(self.saying)


def carrier_on(grid: InProcessGrid) -> GridCarrier:
    """Whose clients have all joined, and are not looked after again."""
    nodes = {client: grid.node(client) for client in range(THREE)}
    made = Enrolment(grid, THREE, nodes=nodes)
    made.refresh = lambda: None  # type: ignore[method-assign]
    return GridCarrier(made, "", D, 30.0)


def test_a_missing_id_costs_the_client_that_could_not_be_reached_and_no_other() -> None:
    grid = TerseGrid.of(echo(), THREE)
    carrier = carrier_on(grid)
    del grid.contexts[grid.node(1)]
    uploads = carrier.train(range(THREE), torch.zeros(D), 1)
    assert uploads.dropped == (Drop(1, "absent"),)
    assert torch.equal(uploads.rows, sent([0, 2], 1).rows)


@pytest.mark.parametrize("saying", [(), ("a stranger", None), ("one", "more", "than", "sent")])
def test_ids_that_are_no_messages_are_nobody_reached(saying: tuple[Any, ...]) -> None:
    grid = MuteGrid.of(echo(), THREE)
    assert isinstance(grid, MuteGrid)
    carrier = carrier_on(grid)
    grid.saying = saying
    uploads = carrier.train(range(THREE), torch.zeros(D), 1)
    assert uploads.dropped == tuple(Drop(client, "absent") for client in range(THREE))


def test_a_client_that_is_not_there_is_absent_and_takes_part_once_it_is() -> None:
    made, params, grid = world(Mean())
    gone = grid.node(4)
    context = grid.contexts.pop(gone)
    state, record = play_round(made.start(params), made)
    assert record.dropped == (Drop(4, "absent"),)
    grid.contexts[123] = context
    state, record = play_round(state, made)
    assert record.dropped == ()


def test_a_node_that_goes_between_two_looks_is_absent() -> None:
    made, params, grid = world(Mean())
    carrier = made.carrier
    assert isinstance(carrier, GridCarrier)
    del grid.contexts[grid.node(4)]
    enrolment = carrier.enrolment
    enrolment.refresh = lambda: None  # type: ignore[method-assign]
    uploads = carrier.train(range(COUNT), params, 1)
    assert uploads.dropped == (Drop(4, "absent"),)


def test_orders_go_to_the_clients_asked_and_to_no_others() -> None:
    made, params, grid = world(Mean())
    uploads = made.carrier.train([1, 5, 9], params, 2)
    assert uploads.clients.tolist() == [1, 5, 9]
    assert torch.equal(uploads.rows, sent([1, 5, 9], 2).rows)
    assert uploads.examples.tolist() == [11, 15, 19]
    assert uploads.losses.tolist() == [1, 5, 9]
    assert [message.metadata.dst_node_id for message in grid.orders] == [grid.node(client) for client in (1, 5, 9)]
    first, second = (dict(message.content.config_records["order"]) for message in grid.orders[:2])
    assert first.pop(ONCE) != second.pop(ONCE), "nobody can foresee an order"
    assert first == {"settings": "", "client": 1, "round": 2, "chosen": 3, "poisoned": False}
    assert made.carrier.train([], params, 2).rows.shape == (0, D)


class LateGrid(InProcessGrid):
    """Hands out each training reply at the third time of asking, the last first."""

    asked: dict[str, int] | None = None

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The ripe ones."""
        self.asked = self.asked or {}
        ripe = []
        for message in message_ids:
            self.asked[message] = self.asked.get(message, 0) + 1
            if self.asked[message] > 2:
                ripe.append(message)
        return super().pull_messages(ripe)


def test_replies_that_come_late_but_in_time_count() -> None:
    grid = LateGrid.of(echo(), THREE)
    made = Enrolment(grid, THREE)
    assert made.wait(10)
    uploads = GridCarrier(made, "", D, 30.0).train(range(THREE), torch.zeros(D), 1)
    assert torch.equal(uploads.rows, sent([0, 1, 2], 1).rows)


@pytest.mark.parametrize("field", ["_reply_to_message_id", "_src_node_id", "_dst_node_id", "_run_id"])
def test_nobody_can_answer_in_anothers_name(field: str) -> None:
    # What a reply says of itself is written by its sender, on a SuperLink too.
    made, params, grid = world(Mean())
    victim: dict[str, Any] = {}

    def remember(reply: Message) -> Message:
        victim.update(vars(reply.metadata))
        return reply

    def pretend(reply: Message) -> Message:
        reply.metadata.__dict__[field] = victim[field]
        return reply

    grid.faults = {2: remember, 4: pretend}
    uploads = made.carrier.train(range(COUNT), params, 1)
    assert uploads.dropped == ()
    assert torch.equal(uploads.rows, sent(list(range(COUNT)), 1).rows)
