"""Who is which client: in what order they join, who takes whose place, and who is left out."""

from __future__ import annotations

import pytest
from flwr.app import MetricRecord

from tests.flower.echoes import echo
from tests.flower.enrolling import THREE, enrolled, saying, told
from tests.flower.grids import InProcessGrid


def test_clients_join_in_the_order_of_their_nodes_and_are_asked_once() -> None:
    grid = InProcessGrid.of(echo(), THREE)
    made, lines = enrolled(grid)
    assert made.nodes == {client: grid.node(client) for client in range(THREE)}
    assert lines == ["client 2 joined (1 of 3)", "client 1 joined (2 of 3)", "client 0 joined (3 of 3)"]
    grid.hellos = dict.fromkeys(range(THREE), saying({}))
    assert told(lines, made.refresh) == []
    assert made.wait(10)


def test_a_node_is_the_client_of_its_key_whatever_it_says() -> None:
    grid = InProcessGrid.of(echo(), THREE)
    liar = grid.node(2)
    grid.hellos = {2: saying({"client": MetricRecord({"client": 0})})}
    proven = {grid.node(client): client for client in range(THREE)}
    grid.keyed, grid.proven = True, lambda: proven  # type: ignore[attr-defined]
    made, lines = enrolled(grid)
    assert made.nodes == {0: grid.node(0), 1: grid.node(1)}
    assert f"node {liar} is left out: it says it is client 0, and its key is client 2's" in lines


def test_a_node_whose_key_is_not_known_is_no_client() -> None:
    grid = InProcessGrid.of(echo(), THREE)
    grid.keyed, grid.proven = True, dict  # type: ignore[attr-defined]
    made, lines = enrolled(grid)
    assert made.nodes == {}
    assert lines == []


def test_the_second_node_to_name_a_client_is_left_out() -> None:
    grid = InProcessGrid.of(echo(), THREE)
    made, lines = enrolled(grid)
    first = grid.node(1)
    grid.add(9999, 1, THREE)
    assert told(lines, made.refresh) == ["node 9999 is left out: client 1 has joined already"]
    assert told(lines, made.refresh) == []
    assert made.nodes[1] == first


def test_of_two_that_come_at_once_one_is_left_out() -> None:
    grid = InProcessGrid.of(echo(), THREE)
    grid.add(20, 1, THREE)
    made, lines = enrolled(grid)
    assert made.nodes[1] == 20
    assert f"node {grid.node(1)} is left out: client 1 has joined already" in lines
    assert len(made.nodes) == THREE


def test_who_was_left_out_takes_the_place_of_one_that_leaves() -> None:
    # A client that was killed and comes back: its old node is listed until its heartbeat is missed.
    grid = InProcessGrid.of(echo(), THREE)
    made, lines = enrolled(grid)
    first = grid.node(1)
    grid.add(9999, 1, THREE)
    made.refresh()
    del grid.contexts[first]
    assert told(lines, made.refresh) == ["client 1 left", "client 1 joined (3 of 3)"]
    assert made.nodes[1] == 9999


def test_a_client_leaves_and_comes_back_as_another_node() -> None:
    grid = InProcessGrid.of(echo(), THREE)
    made, lines = enrolled(grid)
    del grid.contexts[grid.node(1)]
    assert told(lines, made.refresh) == ["client 1 left"]
    assert sorted(made.nodes) == [0, 2]
    assert told(lines, made.refresh) == []
    grid.add(9999, 1, THREE)
    assert told(lines, made.refresh) == ["client 1 joined (3 of 3)"]
    assert made.nodes[1] == 9999


@pytest.mark.parametrize("client", [3, -1, 10**12])
def test_a_client_out_of_range_is_told_of_once(client: int) -> None:
    grid = InProcessGrid.of(echo(), THREE)
    grid.add(9999, client, THREE)
    made, lines = enrolled(grid)
    assert lines[-1] == f"node 9999 is no client of this federation: it says it is {client}"
    assert told(lines, made.refresh) == []
    assert sorted(made.nodes) == [0, 1, 2]
