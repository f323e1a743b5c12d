"""The server's side: which uploads count and for how much, its step, and the buffers."""

import math

import pytest
import torch
from builders import StubRule, flat, stub_world, uploads
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.config import ServerSection
from fedsim.domain import Drop
from fedsim.engine.round import play_round
from fedsim.server import sanitize

NAN, INF, HUGE = math.nan, math.inf, 3e38


def test_drops_rows_that_are_not_finite_and_says_whose():
    sent = uploads([[1, 2], [NAN, 0], [3, 4], [0, INF], [5, -INF]], first=10)
    updates, _, dropped = sanitize(sent, flat(2), ServerSection())
    assert updates.deltas.tolist() == [[1, 2], [3, 4]]
    assert updates.clients.tolist() == [10, 12]
    assert updates.weights.tolist() == [1, 1]
    assert dropped == (Drop(11, "non-finite"), Drop(13, "non-finite"), Drop(14, "non-finite"))


def test_keeps_huge_rows_whose_sum_overflows():
    sent = uploads([[HUGE, HUGE], [-HUGE, -HUGE], [HUGE, NAN]])
    updates, _, dropped = sanitize(sent, flat(2), ServerSection())
    assert updates.clients.tolist() == [0, 1]
    assert dropped == (Drop(2, "non-finite"),)


def test_a_buffer_that_is_not_finite_drops_the_row():
    updates, buffers, dropped = sanitize(uploads([[1, NAN], [2, 7]]), flat(1, 1), ServerSection())
    assert updates.deltas.tolist() == [[2]]
    assert buffers.tolist() == [[7]]
    assert dropped == (Drop(0, "non-finite"),)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 1.0, -2.5, HUGE, -HUGE, NAN, INF, -INF]), min_size=3, max_size=3),
        min_size=1,
        max_size=6,
    )
)
def test_sanitize_by_definition(rows):
    updates, _, dropped = sanitize(uploads(rows), flat(3), ServerSection())
    good = [i for i, row in enumerate(rows) if all(math.isfinite(x) for x in row)]
    assert updates.clients.tolist() == good
    assert updates.deltas.tolist() == [uploads(rows).rows[i].tolist() for i in good]
    assert [drop.client for drop in dropped] == [i for i in range(len(rows)) if i not in good]


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({}, [1, 1, 1]),
        ({"weighting": "examples"}, [2, 900, 5]),
        ({"weighting": "examples", "weight_cap": 10}, [2, 10, 5]),
    ],
)
def test_weights(server, expected):
    updates, _, _ = sanitize(uploads([[0.0]] * 3, [2, 900, 5]), flat(1), ServerSection(**server))
    assert updates.weights.tolist() == expected
    assert updates.weights.dtype == torch.float32


def test_weights_stay_with_their_rows_when_one_is_dropped():
    sent = uploads([[0.0], [NAN], [2.0]], [3, 4, 5])
    updates, _, _ = sanitize(sent, flat(1), ServerSection(weighting="examples"))
    assert updates.weights.tolist() == [3, 5]


def test_claimed_examples_weigh_in_the_round():
    # (1 * 1 + 3 * 5) / 4
    world = stub_world([[1.0], [5.0]], examples={0: 1, 1: 3}, server={"weighting": "examples"})
    after, _ = play_round(world.start(torch.zeros(1)), world)
    assert after.params.tolist() == [4]


def test_learning_rate_and_momentum_over_three_rounds_by_hand():
    # velocity 2, 0.5 * 2 + 2 = 3, 0.5 * 3 + 2 = 3.5; params += 0.1 velocity
    world = stub_world([[2.0, -2.0]], server={"learning_rate": 0.1, "momentum": 0.5})
    state = world.start(torch.tensor([0.0, 1.0]))
    history = []
    for _ in range(3):
        state, _ = play_round(state, world)
        history.append(state.params.tolist())
    assert history == [pytest.approx(row) for row in ([0.2, 0.8], [0.5, 0.5], [0.85, 0.15])]
    assert state.momentum.tolist() == [3.5, -3.5]


BUFFERED = [[1.0, 10.0, 0.0], [1.0, 20.0, 4.0], [1.0, 90.0, 2.0]]
"""One weight and two statistics a client."""


@pytest.mark.parametrize(("how", "expected"), [("median", [20, 2]), ("mean", [40, 2]), ("keep", [0, 0])])
def test_buffers_are_merged_by_their_own_rule(how, expected):
    rule = StubRule()
    world = stub_world(BUFFERED, layout=flat(1, 2), rule=rule, server={"buffers": how})
    state, _ = play_round(world.start(torch.tensor([0.0, 1.0, 1.0])), world)
    assert state.params.tolist() == [1, *(1 + change for change in expected)]
    assert rule.seen[0].deltas.tolist() == [[1], [1], [1]], "the rule sees weights only"


def test_median_of_an_even_number_of_buffers_is_the_mean_of_the_middle_two():
    world = stub_world([[0, 1.0], [0, 2.0], [0, 4.0], [0, 100.0]], layout=flat(1, 1))
    state, _ = play_round(world.start(torch.zeros(2)), world)
    assert state.params.tolist() == [0, 3]


def test_server_learning_rate_and_momentum_do_not_touch_buffers():
    server = {"learning_rate": 0.5, "momentum": 0.9}
    world = stub_world([[2.0, 3.0]], layout=flat(1, 1), server=server)
    state = world.start(torch.zeros(2))
    assert state.momentum.shape == (1,)
    state, _ = play_round(state, world)
    state, _ = play_round(state, world)
    assert state.params.tolist() == pytest.approx([0.5 * 2 + 0.5 * 3.8, 6])


def test_buffers_of_dropped_rows_do_not_count():
    world = stub_world([[1.0, 4.0], [NAN, 1000.0]], layout=flat(1, 1), server={"buffers": "mean"})
    state, _ = play_round(world.start(torch.zeros(2)), world)
    assert state.params.tolist() == [1, 4]
