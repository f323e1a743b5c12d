"""python -m experiments.romoa.tables: Tables 1 and 2 of the paper, error rates and confidences under its attacks."""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fedsim.commands import Interrupted, launch

if TYPE_CHECKING:
    from experiments.romoa.bars import Done

WIDTHS = (10, 20)


def main(
    data: Annotated[Literal["digits", "mnist", "cifar10"], typer.Option(help="the data set")] = "digits",
    root: Annotated[str | None, typer.Option(help="folder of the data set; nothing is downloaded")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds, from 0")] = 3,
    out: Annotated[Path, typer.Option(help="where the tables are written")] = Path("runs/romoa"),
    workers: Annotated[int, typer.Option(min=1, help="processes; one a core by default")] = os.cpu_count() or 1,
) -> None:
    """Play what both tables need; cells that are there, of the same commit, are kept."""
    from experiments.kept import Kept
    from experiments.pool import play_all
    from experiments.romoa.bars import bars, judged
    from experiments.romoa.cells import Found, config_of, play
    from experiments.romoa.suites import Cell, cells
    from fedsim.build import federation
    from fedsim.results.environment import commit

    wanted = cells(data, seeds)
    # What the data lack is said before a pool of processes starts.
    federation(config_of(wanted[0], root))
    command = f"python -m experiments.romoa.tables {shlex.join(sys.argv[1:])}".rstrip()
    table = Kept(out / f"{data}.csv", Cell, Found, command, commit() or "unknown+", f"{seeds} seeds")
    try:
        play_all(partial(play, root=root), [cell for cell in wanted if cell not in table.done], workers, table.add)
    except KeyboardInterrupt as stop:
        then = "; the same command goes on from there" if table.goes_on else ""
        raise Interrupted(f"interrupted: {len(table.done)} cells are kept in {table.path}{then}") from stop
    finally:
        table.write()
    text = tables(table.done)
    (out / f"{data}.md").write_text(text, encoding="utf-8")
    print(text)
    if data == "digits":
        print(judged(list(bars(table.done))))
    print(f"{table.path}, and {data}.md beside it: {len(table.done)} cells")


def tables(done: Done) -> str:
    """Markdown: the worst of each suite by rule and attackers, its mean over seeds and the worst of them."""
    return "\n".join(_table(done, clients) for clients in WIDTHS if any(cell.clients == clients for cell in done))


def _table(done: Done, clients: int) -> str:
    from experiments.romoa.bars import by_seed
    from experiments.romoa.suites import CLEAN, IID, RULES, TPA, UPA

    numbers = sorted(
        {cell.attackers for cell in done if cell.clients == clients and cell.attack in UPA and cell.setting == IID}
    )
    columns = [
        ("clean", 0, [CLEAN]),
        *((f"UPA {f}", f, [*UPA]) for f in numbers),
        *((f"TPA {f}", f, [*TPA]) for f in numbers),
    ]
    lines = [f"| {clients} clients | {' | '.join(name for name, _, _ in columns)} |", "|---" * (1 + len(columns)) + "|"]
    for rule in RULES:
        found = [by_seed(done, rule, f, suite, clients) for _, f, suite in columns]
        if any(found):
            lines.append(f"| {rule} | {' | '.join(map(_shown, found))} |")
    return "\n".join([*lines, ""])


def _shown(figures: list[float] | None) -> str:
    return "" if figures is None else f"{mean(figures):.2f} ({max(figures):.2f})"


if __name__ == "__main__":
    launch(main)
