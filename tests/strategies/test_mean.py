"""The weighted mean."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from fedsim.domain import Refused
from strategies import Mean
from tests.strategies import definitions
from tests.strategies.rounds import Drawn, apply, close, numbers, rounds, steady, updates


def test_by_hand() -> None:
    # (1 * 1 + 3 * 5) / 4 = 4 and (1 * 2 + 3 * -2) / 4 = -1
    result = apply(Mean(), updates([[1, 2], [5, -2]], weights=[1, 3]))
    assert result.step.tolist() == [4, -1]
    assert result.shares is not None
    assert result.shares.tolist() == [0.25, 0.75]


@steady
@given(rounds())
def test_by_definition(drawn: Drawn) -> None:
    close(apply(Mean(), drawn.updates).step, definitions.mean(drawn.rows, drawn.weights), drawn.rows)


def test_large_values_do_not_overflow() -> None:
    result = apply(Mean(), updates(numbers(3e38, 3e38, 3e38)))
    assert torch.isfinite(result.step).all()


def test_refuses_an_empty_round() -> None:
    with pytest.raises(Refused) as refusal:
        Mean().require(0)
    assert str(refusal.value) == "mean refuses n = 0 uploads: it needs n >= 1"


@pytest.mark.parametrize(
    ("weights", "numbers_said"),
    [([0, 0], "lowest is 0 and the sum 0"), ([3, -1], "lowest is -1 and the sum 2")],
)
def test_refuses_weights_that_weigh_nothing(weights: list[float], numbers_said: str) -> None:
    with pytest.raises(Refused) as refusal:
        apply(Mean(), updates(numbers(1, 2), weights=weights))
    assert str(refusal.value) == (
        f"mean refuses weights of which the {numbers_said}: it needs every weight >= 0 and a sum > 0; "
        "weigh uploads alike or drop the clients at fault"
    )
