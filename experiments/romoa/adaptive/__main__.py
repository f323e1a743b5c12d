"""python -m experiments.romoa.adaptive: attacks made for Romoa, against it and beside it against three other rules."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.commands import Interrupted, launch

if TYPE_CHECKING:
    from experiments.romoa.adaptive.playing import Found
    from experiments.romoa.adaptive.suites import Cell


def main(
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds, from 0")] = 3,
    out: Annotated[Path, typer.Option(help="where the table is written")] = Path("runs/romoa_adaptive"),
    workers: Annotated[int, typer.Option(min=1, help="processes; one a core by default")] = os.cpu_count() or 1,
) -> None:
    """Play all cells; those that are there, of the same commit, are kept."""
    from experiments.kept import Kept
    from experiments.pool import play_all
    from experiments.romoa.adaptive.playing import Found, play
    from experiments.romoa.adaptive.suites import Cell, cells
    from fedsim.results.environment import commit

    command = f"python -m experiments.romoa.adaptive {shlex.join(sys.argv[1:])}".rstrip()
    table = Kept(out / "table.csv", Cell, Found, command, commit() or "unknown+", f"{seeds} seeds")
    try:
        play_all(play, [cell for cell in cells(seeds) if cell not in table.done], workers, table.add)
    except KeyboardInterrupt as stop:
        then = "; the same command goes on from there" if table.goes_on else ""
        raise Interrupted(f"interrupted: {len(table.done)} cells are kept in {table.path}{then}") from stop
    finally:
        table.write()
    print(summary(table.done))
    print(f"{table.path}: {len(table.done)} cells")


def summary(done: Mapping[Cell, Found]) -> str:
    """Markdown: for each crowd the attacks by rule; the mean over seeds and, in brackets, the worst of them."""
    crowds = sorted({(cell.clients, cell.attackers) for cell in done})
    return "\n".join(_summary(done, *crowd) for crowd in crowds)


def _summary(done: Mapping[Cell, Found], clients: int, attackers: int) -> str:
    from experiments.romoa.adaptive.suites import OTHERS

    here = {cell: found for cell, found in done.items() if (cell.clients, cell.attackers) == (clients, attackers)}
    rules = ("romoa", *OTHERS)
    heads = [f"{attackers} of {clients}", *rules, "share of the step", "n F honest", "n F attackers"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for attack in dict.fromkeys(cell.attack for cell in here):
        by_rule = {
            rule: [it for cell, it in here.items() if (cell.attack, cell.rule) == (attack, rule)] for rule in rules
        }
        romoa = by_rule["romoa"]
        thoughts = [[it.attackers_share for it in romoa], [it.honest_factor for it in romoa]]
        thoughts += [[it.attackers_factor for it in romoa]]
        shown = [_shown([_harm(it) for it in found], True) for found in by_rule.values()]
        shown += [_shown([it for it in figures if it is not None]) for figures in thoughts]
        lines.append(f"| {attack} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def _harm(found: Found) -> float:
    return found.error_rate if found.target_confidence is None else found.target_confidence


def _shown(figures: Sequence[float], worst: bool = False) -> str:
    if not figures:
        return ""
    return f"{fmean(figures):.2f}" + (f" ({max(figures):.2f})" if worst else "")


if __name__ == "__main__":
    launch(main)
