"""What an attack is shown, built by hand, and at least one example of every attack of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.random import Generator
from torch import Tensor

from clients.adaptive import Adaptive
from clients.alie import ALittleIsEnough
from clients.backdoor import Backdoor
from clients.fang import Fang
from clients.free_rider import FreeRider
from clients.ipm import InnerProductManipulation
from clients.label_flip import LabelFlip
from clients.mimic import Mimic
from clients.min_max import MinMax, MinSum
from clients.none import NoAttack
from clients.random_noise import RandomNoise
from clients.sign_flip import SignFlip
from clients.tpa import TargetedPoisoning
from clients.upa import UntargetedPoisoning
from fedsim.domain import KNOWLEDGE, Aggregator, Attack, Dataset, Knowledge, Layout, Refused, View
from strategies import Median

Rows = Tensor | Sequence[Sequence[float]]

steady = settings(deadline=None, derandomize=True, max_examples=40)
"""The same examples on every run and every machine."""

EXAMPLES: Mapping[str, tuple[Attack, ...]] = {
    "none": (NoAttack(),),
    "random": (RandomNoise(sigma=2.0), RandomNoise(sigma=0.5, mode="add")),
    "sign_flip": (SignFlip(scale=3.0),),
    "label_flip": (LabelFlip(), LabelFlip(source=1, target=0)),
    "ipm": (InnerProductManipulation(epsilon=4.0),),
    "alie": (ALittleIsEnough(), ALittleIsEnough(z=1.5)),
    "fang": (Fang(), Fang(against="krum")),
    "upa": (UntargetedPoisoning(), UntargetedPoisoning(form="sign"), UntargetedPoisoning(against="median")),
    "min_max": (MinMax(), MinMax(perturbation="std")),
    "min_sum": (MinSum(), MinSum(perturbation="sign")),
    "mimic": (Mimic(), Mimic(victim=1)),
    "adaptive": (Adaptive(),),
    "tpa": (TargetedPoisoning(source=1, target=0), TargetedPoisoning(source=1, target=0, exact=True)),
    "backdoor": (Backdoor(target=1, size=2),),
    "free_rider": (FreeRider(), FreeRider(noise=0.0)),
}
"""A new attack's line here is what the suite of laws asks of it."""

ALL = [(name, attack) for name, attacks in EXAMPLES.items() for attack in attacks]


def rows(values: Rows) -> Tensor:
    """(n, d) float32."""
    return values if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float32)


def view(
    own: Rows,
    honest: Rows | None = None,
    *,
    others: int = 0,
    round: int = 1,
    rule: Aggregator | None = None,
    poisoned: Rows | None = None,
    data: tuple[Dataset, ...] = (),
    last: Tensor | None = None,
) -> View:
    """A view of ``own`` and, if shown, ``honest``; ``others`` counts honest clients not shown."""
    mine = rows(own)
    seen = None if honest is None else rows(honest)
    d = mine.shape[1]
    return View(
        round=round,
        n=len(mine) + (others if seen is None else len(seen)),
        params=torch.linspace(-1, 1, d, dtype=mine.dtype),
        own=mine,
        honest=seen,
        rule=rule,
        memory=None if rule is None else {"last": torch.ones(d)},
        poisoned=None if poisoned is None else rows(poisoned),
        layout=Layout(("weight",), ((d,),), d),
        data=data,
        last=last,
    )


def crowd(
    seed: int = 0,
    f: int = 3,
    h: int = 7,
    d: int = 5,
    dtype: torch.dtype = torch.float32,
    knowledge: Knowledge = "rule",
) -> View:
    """Normal updates of f malicious and h honest clients, what poisoning gave, the last step, and small images."""
    draw = torch.Generator().manual_seed(seed)
    own, honest, poisoned, last = (
        torch.randn(count, d, generator=draw, dtype=torch.float64).to(dtype) for count in (f, h, f, 1)
    )
    data = tuple(
        Dataset(torch.rand(4, 1, 3, 3, generator=draw), torch.randint(3, (4,), generator=draw), 3) for _ in range(f)
    )
    return view(
        own,
        None if knowledge == "own" else honest,
        others=h,
        rule=Median() if knowledge == "rule" else None,
        poisoned=poisoned,
        data=data,
        last=last[0],
    )


def refuses(attack: Attack, shown: View, knowledge: Knowledge) -> bool:
    """Whether the attack takes no part in a round of these numbers under this knowledge."""
    try:
        attack.require(shown.n, len(shown.own), knowledge)
    except Refused:
        return True
    return KNOWLEDGE.index(attack.needs) > KNOWLEDGE.index(knowledge)


def refusal_of(attack: Attack, n: int, f: int, knowledge: Knowledge) -> str:
    """What the attack says of these numbers under this knowledge, which it refuses."""
    with pytest.raises(Refused) as refused:
        attack.require(n, f, knowledge)
    return str(refused.value)


def rng(seed: int = 0) -> Generator:
    """A generator of an attack's draws."""
    return np.random.default_rng(seed)
