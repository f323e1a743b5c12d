"""python -m experiments.attack_atlas: the final accuracy of every rule under every attack, over seeds."""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fedsim.commands import Interrupted, launch


def main(
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds, from 1")] = 3,
    rounds: Annotated[int | None, typer.Option(min=1, help="of each cell; base.toml's when left out")] = None,
    only: Annotated[list[str] | None, typer.Option(help="one rule; may be given several times")] = None,
    out: Annotated[Path, typer.Option(help="where the table and the picture are written")] = Path("runs/attack_atlas"),
    workers: Annotated[int, typer.Option(min=1, help="processes; one a core by default")] = os.cpu_count() or 1,
) -> None:
    """Play every rule against every attack; cells that are there, of the same commit and rounds, are kept."""
    from experiments.attack_atlas.cells import Cell, Found, all_cells, base_rounds, known, place, play
    from experiments.attack_atlas.picture import draw
    from experiments.kept import Kept
    from experiments.pool import play_all
    from fedsim.results.environment import commit

    cells = all_cells(seeds, only or ())
    command = f"python -m experiments.attack_atlas {shlex.join(sys.argv[1:])}".rstrip()
    played = base_rounds() if rounds is None else rounds
    terms = f"{played} rounds a cell"
    table = Kept(out / "table.csv", Cell, Found, command, commit() or "unknown+", terms, known, place)
    missing = [cell for cell in cells if cell not in table.done]
    try:
        play_all(partial(play, rounds=played), missing, workers, table.add)
    except KeyboardInterrupt as stop:
        then = "; the same command goes on from there" if table.goes_on else ""
        raise Interrupted(f"interrupted: {len(table.done)} cells are kept in {table.path}{then}") from stop
    finally:
        table.write()
        if table.done:
            draw(out / "heatmap.svg", table.done, f"digits, mlp, {played} rounds, mean of {seeds} seeds")
    print(f"{table.path} and heatmap.svg beside it: {len(table.done)} cells")


if __name__ == "__main__":
    launch(main)
