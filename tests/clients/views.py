"""What an attack is shown, built by hand, and at least one example of every attack of the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from hypothesis import settings
from numpy.random import Generator
from torch import Tensor

from clients.alie import ALittleIsEnough
from clients.ipm import InnerProductManipulation
from clients.label_flip import LabelFlip
from clients.none import NoAttack
from clients.random_noise import RandomNoise
from clients.sign_flip import SignFlip
from fedsim.domain import Aggregator, Attack, Dataset, Layout, View

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
    )


def crowd(
    seed: int = 0, f: int = 3, h: int = 7, d: int = 5, dtype: torch.dtype = torch.float32, shown: bool = True
) -> View:
    """Normal updates of f malicious and h honest clients, what poisoning gave, and the clients' data."""
    draw = torch.Generator().manual_seed(seed)
    own, honest, poisoned = (
        torch.randn(count, d, generator=draw, dtype=torch.float64).to(dtype) for count in (f, h, f)
    )
    data = tuple(Dataset(torch.rand(4, d, generator=draw), torch.randint(3, (4,), generator=draw), 3) for _ in range(f))
    return view(own, honest if shown else None, others=h, poisoned=poisoned, data=data)


def rng(seed: int = 0) -> Generator:
    """A generator of an attack's draws."""
    return np.random.default_rng(seed)
