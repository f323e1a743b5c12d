"""What the Romoa study plays: rules, suites of attacks, and settings, as changes of a base configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]

CLEAN = "clean"
RULES: Mapping[str, Settings] = {
    "mean": {"name": "mean"},
    "krum": {"name": "krum"},
    "rfa": {"name": "geometric_median"},
    "romoa literal": {"name": "romoa", "reading": "literal"},
    "romoa paper": {"name": "romoa", "reading": "paper"},
    "romoa": {"name": "romoa"},
}
"""The paper's rules: RFA is the geometric median, and plain averaging its baseline. Krum fears as many as it may."""

UPA: Mapping[str, Settings] = {
    "opposite 3": {"name": "upa", "form": "opposite", "scale": 3.0},
    "opposite 10": {"name": "upa", "form": "opposite", "scale": 10.0},
    "sign 30": {"name": "upa", "form": "sign", "scale": 30.0},
    "fang": {"name": "upa", "form": "fang"},
    "krum": {"name": "upa", "form": "krum"},
}
TARGETED = {"name": "tpa", "samples": 10, "share": 0.24}
"""Ten targets beside the samples of a batch."""
TPA: Mapping[str, Settings] = {
    "boost 2": {**TARGETED, "boost": 2.0},
    "boost 10": {**TARGETED, "boost": 10.0},
    "exact": {**TARGETED, "exact": True},
    "exact, gently": {**TARGETED, "exact": True, "share": 0.1},
}
LATE: Mapping[str, Settings] = {
    "late opposite 30": {"name": "upa", "form": "opposite", "scale": 30.0, "late": True},
    "late boost 10": {**TARGETED, "boost": 10.0, "late": True},
}
CANCELLING = "cancelling"
"""Opposite by (n - f)/f, which makes the mean of all updates vanish."""
NOT_FINITE = "not finite"
ONE_LABEL = "one label"
"""A setting: each client holds one label."""
IID = "iid"


@dataclass(frozen=True, order=True)
class Cell:
    """One run: ``attackers`` of ``clients`` play ``attack`` against ``rule``."""

    data: str
    setting: str
    clients: int
    attackers: int
    rule: str
    attack: str
    seed: int


def cells(data: str, seeds: int) -> list[Cell]:
    """All that the tables and the bars need."""
    suites = [*UPA, *TPA]
    found = [*_crossed(data, IID, 10, (1, 3, 4), RULES, suites)]
    found += _crossed(data, IID, 10, (1, 3, 4), ["romoa"], [*LATE, CANCELLING])
    found += _crossed(data, IID, 10, (4,), ["romoa"], [NOT_FINITE])
    found += _crossed(data, IID, 20, (1, 6, 9), ["mean", "krum", "rfa", "romoa"], suites)
    found += _crossed(data, ONE_LABEL, 10, (1,), ["mean", "romoa literal", "romoa"], ["opposite 10", "boost 10"])
    return sorted(Cell(*cell, seed) for cell in dict.fromkeys(found) for seed in range(seeds))


Unseeded = tuple[str, str, int, int, str, str]


def _crossed(
    data: str,
    setting: str,
    n: int,
    attackers: Sequence[int],
    rules: Sequence[str] | Mapping[str, Settings],
    attacks: Sequence[str],
) -> list[Unseeded]:
    """Every rule without attack, and against every attack by each number of attackers."""
    clean = [(data, setting, n, 0, rule, CLEAN) for rule in rules]
    return clean + [(data, setting, n, f, rule, attack) for rule in rules for f in attackers for attack in attacks]


def changes(cell: Cell) -> dict[str, Any]:
    """What sets a cell apart from the base."""
    strategy = dict(RULES[cell.rule])
    if strategy["name"] == "krum":
        strategy["byzantine"] = _feared(cell)
    found = {
        "seed": cell.seed,
        "clients": {"count": cell.clients},
        "strategy": strategy,
        "attack": {**_attack(cell), "clients": cell.attackers},
    }
    if cell.setting == ONE_LABEL:
        found |= {"partition": {"name": "one_label"}, "training": {"learning_rate": 0.2}, "rounds": 100}
    return found


def _feared(cell: Cell) -> int:
    """As many as attack, or as Krum can."""
    return min(cell.attackers, (cell.clients - 3) // 2)


def _attack(cell: Cell) -> Settings:
    if cell.attack == CLEAN:
        return {"name": "none"}
    if cell.attack == CANCELLING:
        return {"name": "upa", "form": "opposite", "scale": (cell.clients - cell.attackers) / cell.attackers}
    if cell.attack == NOT_FINITE:
        # Beyond what float32 holds.
        return {"name": "random", "sigma": 1e39}
    attack = {**UPA, **TPA, **LATE}[cell.attack]
    if cell.attack == "krum":
        attack = {**attack, "feared": _feared(cell)}
    # A horse for a cat, where the others take a six for a three.
    return {**attack, "source": 7} if cell.data == "cifar10" and attack["name"] == "tpa" else attack
