"""The adaptive white-box attack: whatever the server's rule is, ask it how far one can go."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import Ge

from clients.base import Malicious
from clients.geometry import Direction, perturbation
from fedsim.domain import Knowledge, Refused, Updates
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View

GOLDEN = (5**0.5 - 1) / 2

SCALES = [*(10 ** (step / 8) for step in range(-16, 9)), *(10 ** (step / 2) for step in range(3, 7))]
"""The scales that are tried first, from 1/100 to 1000 median honest norms; densely where rules that pick rows turn."""


@dataclass(frozen=True)
class Adaptive(Malicious):
    """Push along a direction to where the rule itself yields most: x = mu + gamma p, gamma by questions to the rule.

    The damage is how far the aggregate falls short of the honest mean mu, along mu:

        damage(gamma) = (mu - rule(honest rows, f rows mu + gamma p)) mu / |mu|

    Scales are tried on a grid, and the best one's neighbourhood is searched by golden section, which finds a peak as
    well as the edge of what a rule that picks rows accepts. What a rule accepts may have gaps, Bulyan's has: a narrow
    island of it between two scales of the grid is missed. A refused or not finite aggregate is no damage. The rule is
    asked with equal weights.

    Fields:
        direction: p, scaled to the median honest norm: unit is -mu/|mu|, sign -sign(mu), std minus the standard
            deviation entry by entry; best tries all three.
        questions: to the rule in the second search, for each direction.
    Knowledge: "rule".
    Refuses: a round without honest clients.
    Cost: 29 + ``questions`` calls of the rule for each direction.
    Source: Shejwalkar, Houmansadr, NDSS 2021, Sec. IV-A (AGR-tailored), with the rule as an oracle in place of each
        rule's own formula.
    """

    needs: ClassVar[Knowledge] = "rule"
    direction: Literal["best", "unit", "sign", "std"] = "best"
    questions: Annotated[int, Ge(2)] = 12

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        if f >= n:
            raise Refused(f"adaptive refuses f = {f} attackers of n = {n}: it needs an honest mean to push against")

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), the same row for all."""
        honest = view.seen
        mean, unit = honest.mean(dim=0), honest.norm(dim=1).quantile(0.5)
        names: tuple[Direction, ...] = ("unit", "sign", "std") if self.direction == "best" else (self.direction,)
        best, found = 0.0, mean
        for name in names:
            direction = perturbation(name, honest)
            length = direction.norm()
            if float(length) == 0:
                continue
            step = direction * (unit / length)
            scale, damage = _worst(_damage(view, mean, step), self.questions)
            if damage > best:
                best, found = damage, mean + scale * step
        return found.expand_as(view.own).clone()


def _damage(view: View, mean: Tensor, step: Tensor) -> Callable[[float], float]:
    """What rows mu + gamma step do to the aggregate, by gamma."""
    honest, f, rule = view.seen, len(view.own), view.rule
    assert rule is not None, "the engine shows the rule under knowledge rule"
    rows = torch.cat([honest, view.own])
    clients = torch.tensor([*view.others, *view.attackers] or range(len(rows)))
    # Of the server's own samples it knows nothing: the honest mean stands for what they would give.
    asked = Updates(rows, torch.ones(len(rows), device=rows.device), clients, mean, view.params)
    toward = mean / mean.norm().clamp(min=1e-30)

    def damage(scale: float) -> float:
        rows[len(honest) :] = (mean + scale * step).expand(f, -1)
        try:
            aggregate = rule(asked, view.memory or {})
        except Refused:
            return 0.0
        short = float((mean - aggregate.step) @ toward)
        return short if math.isfinite(short) else 0.0

    return damage


def _worst(damage: Callable[[float], float], questions: int) -> tuple[float, float]:
    """The scale of most damage, and that damage."""
    found = [(damage(scale), scale) for scale in SCALES]
    place = max(range(len(SCALES)), key=lambda place: found[place][0])
    low, high = SCALES[max(place - 1, 0)], SCALES[min(place + 1, len(SCALES) - 1)]
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = damage(left), damage(right)
    for _ in range(questions - 2):
        if at_left > at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = damage(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = damage(right)
        found += [(at_left, left), (at_right, right)]
    most, at = max(found)
    return at, most
