"""Attacks and rules that are not ours: they get copies, and what they make is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from clients.adversary import Adversary
from clients.base import Malicious
from fedsim.build import TABLES, rule_of
from fedsim.config.reading import read_text
from fedsim.domain import Knowledge, Mistake
from fedsim.engine.round import play_round
from tests.engine.builders import stub_world


@dataclass(frozen=True)
class Vandal(Malicious):
    """Writes into all it is shown."""

    needs: ClassVar[Knowledge] = "rule"

    def __call__(self, view: Any, rng: Any) -> Any:
        view.params.fill_(99.0)
        view.own.fill_(99.0)
        view.honest.fill_(99.0)
        return torch.zeros_like(view.own)


@dataclass(frozen=True)
class Misshapen(Malicious):
    """Returns whatever it was made with."""

    made: Any = None

    def __call__(self, view: Any, rng: Any) -> Any:
        return self.made


def test_an_attack_works_on_copies() -> None:
    world = stub_world([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], adversary=Adversary(Vandal(), (0,), "rule"))
    start = world.start(torch.tensor([7.0, 8.0]))
    play_round(start, world)
    assert start.params.tolist() == [7.0, 8.0]


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (torch.zeros(2), "attack: it made a Tensor of shape (2,), not rows (1, 2)"),
        (torch.zeros(2, 2), "attack: it made a Tensor of shape (2, 2), not rows (1, 2)"),
        (torch.zeros(1, 2).numpy(), "attack: it made a ndarray of shape (1, 2), not rows (1, 2)"),
        (None, "attack: it made a NoneType of shape (), not rows (1, 2)"),
    ],
)
def test_rows_of_another_shape_are_told(made: Any, sentence: str) -> None:
    world = stub_world([[1.0, 2.0], [3.0, 4.0]], adversary=Adversary(Misshapen(made), (0,)))
    with pytest.raises(Mistake) as told:
        play_round(world.start(torch.zeros(2)), world)
    assert str(told.value) == sentence


def test_a_rule_that_draws_follows_the_runs_seed() -> None:
    text = 'seed = 5\n[strategy]\nname = "nnm"\nbyzantine = 1\n[strategy.rule]\nname = "bucketing"\nsize = 2\n'
    inner = "[strategy.rule.rule]\nname = 'mean'\n"
    rule: Any = rule_of(read_text(text + inner, "test", {}, TABLES))
    assert rule.rule.seed == 5
    own: Any = rule_of(read_text(text + "seed = 9\n" + inner, "test", {}, TABLES))
    assert own.rule.seed == 9
