"""A cell of the atlas: one rule against one attack, for one seed."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clients import ATTACKS
from fedsim.build import TABLES, check, experiment
from fedsim.config.reading import read_text
from fedsim.domain import Mistake
from fedsim.engine.round import World, play_round
from fedsim.lazy import torch
from fedsim.seeds import stream
from fedsim.tables import fields
from strategies import RULES

BASE = Path(__file__).parent / "base.toml"
FEARED = 2
"""f, as many as attack."""
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "centered_clipping": {"radius": 0.5},
    "norm_clipping": {"bound": 0.5},
    "nnm": {"rule": {"name": "krum", "byzantine": FEARED}},
    "bucketing": {"size": 2, "rule": {"name": "median", "byzantine": FEARED}},
}
"""What rules are given beside f, where they know one."""
LABELS = {"nnm": "nnm + krum", "bucketing": "bucketing + median"}


@dataclass(frozen=True)
class Cell:
    """What is played."""

    rule: str
    attack: str
    seed: int


@dataclass(frozen=True)
class Found:
    """What came of a cell.

    Fields:
        accuracy: of the final model; None where the cell was refused.
        attack_success_rate, target_confidence: of attacks that want something in particular, else None.
        skipped_rounds: rounds that the rule refused.
        refused: why nothing was played, or why play ended early; empty when neither happened.
    """

    accuracy: float | None = None
    attack_success_rate: float | None = None
    target_confidence: float | None = None
    skipped_rounds: int = 0
    refused: str = ""


def all_cells(seeds: int, only: Sequence[str] = ()) -> list[Cell]:
    """Every cell, in an order in which slow ones are spread evenly, so that time can be foretold."""
    unknown = [name for name in only if name not in RULES.entries]
    if unknown:
        raise Mistake(f"--only: no rule {unknown[0]!r}; known: {', '.join(RULES.entries)}")
    rules = only or tuple(RULES.entries)
    cells = [Cell(rule, attack, seed) for rule in rules for attack in ATTACKS.entries for seed in range(1, seeds + 1)]
    return [cells[place] for place in stream(0, "atlas").permutation(len(cells))]


def known(cell: Cell) -> bool:
    """Whether there still is such a rule and attack."""
    return cell.rule in RULES.entries and cell.attack in ATTACKS.entries


def place(cell: Cell) -> tuple[int, int, int]:
    """Where a cell stands in the table."""
    return list(RULES.entries).index(cell.rule), list(ATTACKS.entries).index(cell.attack), cell.seed


def base_rounds() -> int:
    """How many rounds a cell has unless told otherwise."""
    return int(tomllib.loads(BASE.read_text(encoding="utf-8"))["rounds"])


def play(cell: Cell, rounds: int) -> Found:
    """Play a cell; what is refused comes back as a reason."""
    try:
        config = read_text(BASE.read_text(encoding="utf-8"), BASE.name, _changes(cell, rounds), TABLES)
        check(config)
        built = experiment(config)
    except Mistake as mistake:
        return Found(refused=str(mistake))
    state, skipped, reason = built.state, 0, ""
    world = replace(built.world, evaluated=lambda round: False)
    while state.round < config.rounds and not reason:
        state, played = play_round(state, world)
        skipped += played.skipped is not None
        if state.skipped >= config.server.max_skipped:
            reason = f"ended after round {state.round}, {state.skipped} rounds skipped in a row: {played.skipped}"
    return _found(world, state.params, skipped, reason)


def _changes(cell: Cell, rounds: int) -> dict[str, Any]:
    """What sets a cell apart from the base."""
    strategy: dict[str, Any] = {"name": cell.rule, **SETTINGS.get(cell.rule, {})}
    if any(field.name == "byzantine" for field in fields(RULES.load(cell.rule))):
        strategy["byzantine"] = FEARED
    return {"seed": cell.seed, "rounds": rounds, "strategy": strategy, "attack": {"name": cell.attack}}


def _found(world: World, params: torch.Tensor, skipped: int, reason: str) -> Found:
    figures = world.evaluate(params)
    wanted = {name: _number(figures[name]) for name in ("attack_success_rate", "target_confidence") if name in figures}
    return Found(accuracy=_number(figures["accuracy"]), skipped_rounds=skipped, refused=reason, **wanted)


def _number(figure: object) -> float:
    assert isinstance(figure, float)
    return figure if math.isfinite(figure) else 0.0
