"""Which attacks are played against which rules, by how many, and as which changes of the study's base configuration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.romoa.suites import CLEAN, RULES, TARGETED

Settings = Mapping[str, Any]
Crowd = tuple[int, int]
"""Clients, and how many of them attack."""

ONE, TWO, THREE, FOUR, NINE = (10, 1), (10, 2), (10, 3), (10, 4), (20, 9)
OTHERS = ("mean", "rfa", "krum")
HERE = "experiments.romoa.adaptive.attacks:"
MATCHING: Settings = {"name": f"{HERE}MatchingCosines"}
TARGET: Settings = {"name": f"{HERE}MatchingTarget", "samples": TARGETED["samples"]}
ASKING: Settings = {"name": "adaptive", "direction": "unit", "knowledge": "rule"}


@dataclass(frozen=True)
class Idea:
    """An attack, and who plays it.

    Fields:
        crowds: who plays it against Romoa.
        beside: and who against the other rules, which see no lookahead uploads.
    """

    settings: Settings
    crowds: Sequence[Crowd]
    beside: Sequence[Crowd] = ()


ALL, MOST, FEW = (ONE, THREE, FOUR, NINE), (THREE, FOUR, NINE), (FOUR, NINE)
IDEAS: Mapping[str, Idea] = {
    "matching": Idea(MATCHING, (*ALL, TWO), MOST),
    "matching, target": Idea(TARGET, (*ALL, TWO), MOST),
    "matching, mean": Idea({**MATCHING, "aim": "mean"}, FEW),
    "matching, own eyes": Idea({**MATCHING, "knowledge": "own"}, FEW),
    "matching, target, own eyes": Idea({**TARGET, "knowledge": "own"}, FEW),
    "borderline": Idea({**MATCHING, "quantile": 0.2}, (THREE, FOUR)),
    "drift": Idea({"name": f"{HERE}Drift"}, ALL, MOST),
    "drift, shallow": Idea({"name": f"{HERE}Drift", "depth": 0.1}, MOST),
    "late, opposite": Idea({"name": "upa", "form": "opposite", "scale": 30.0, "late": True}, FEW),
    "late, matching": Idea({**MATCHING, "late": True}, MOST),
    "late, matching, target": Idea({**TARGET, "late": True}, FEW),
    "asking": Idea({**ASKING, "questions": 2}, (FOUR,), (FOUR,)),
    "late, asking": Idea({**ASKING, "late": True}, FEW),
}
"""Asking costs a minute for a run that asks at every upload."""


@dataclass(frozen=True, order=True)
class Cell:
    """One run: ``attackers`` of ``clients`` play ``attack`` against ``rule``."""

    clients: int
    attackers: int
    rule: str
    attack: str
    seed: int


def cells(seeds: int) -> list[Cell]:
    """All runs: every rule without an attack, and every idea where it is played."""
    found = [(n, 0, rule, CLEAN) for n in (10, 20) for rule in ("romoa", *OTHERS)]
    for name, idea in IDEAS.items():
        found += [(*crowd, "romoa", name) for crowd in idea.crowds]
        found += [(*crowd, rule, name) for crowd, rule in itertools.product(idea.beside, OTHERS)]
    return sorted(Cell(*it, seed) for it in found for seed in range(seeds))


def changes(cell: Cell) -> dict[str, Any]:
    """What sets a cell apart from the base."""
    strategy = dict(RULES[cell.rule])
    if strategy["name"] == "krum":
        strategy["byzantine"] = min(cell.attackers, (cell.clients - 3) // 2)
    attack = {"name": "none"} if cell.attack == CLEAN else IDEAS[cell.attack].settings
    return {
        "seed": cell.seed,
        "clients": {"count": cell.clients},
        "strategy": strategy,
        "attack": {**attack, "clients": cell.attackers},
    }
