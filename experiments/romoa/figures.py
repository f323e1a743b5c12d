"""python -m experiments.romoa.figures: Figs. 1, 2 and 5 to 8 of the paper, curves over rounds with one adversary."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fedsim.commands import Interrupted, launch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from experiments.romoa.curves import Curves
    from experiments.romoa.suites import Cell

RULES = ("mean", "krum", "rfa", "romoa")
UPA, TPA, CLEAN = "opposite 10", "exact", "clean"
PANELS = (
    ("Fig. 1: what attacks do to averaging", "test accuracy", (("mean", CLEAN), ("mean", UPA), ("mean", TPA))),
    ("Fig. 2: TPA against averaging", "confidence in the poisoned label", (("mean", TPA),)),
    ("Figs. 5 and 7: UPA, test", "test accuracy", tuple((rule, UPA) for rule in RULES)),
    ("Fig. 7: UPA, training", "training accuracy", tuple((rule, UPA) for rule in RULES)),
    ("Fig. 6: TPA, true label", "confidence in the true label", tuple((rule, TPA) for rule in RULES)),
    ("Fig. 6: TPA, poisoned label", "confidence in the poisoned label", tuple((rule, TPA) for rule in RULES)),
    ("Fig. 8: TPA, test", "test accuracy", tuple((rule, TPA) for rule in RULES)),
    ("Fig. 8: TPA, training", "training accuracy", tuple((rule, TPA) for rule in RULES)),
)
INKS = {"mean": "#4a4a4a", "krum": "#c8553d", "rfa": "#5b7db1", "romoa": "#0b6e4f", UPA: "#c8553d", TPA: "#5b7db1"}
DASHES = {"mean": "-", "krum": "--", "rfa": ":", "romoa": "-"}


def main(
    data: Annotated[Literal["digits", "mnist", "cifar10"], typer.Option(help="the data set")] = "digits",
    root: Annotated[str | None, typer.Option(help="folder of the data set; nothing is downloaded")] = None,
    attackers: Annotated[int, typer.Option(min=1, max=4, help="of ten clients; the paper's figures have one")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds, from 0")] = 3,
    out: Annotated[Path, typer.Option(help="where the picture is written")] = Path("runs/romoa"),
    workers: Annotated[int, typer.Option(min=1, help="processes; one a core by default")] = os.cpu_count() or 1,
) -> None:
    """Play what the figures show, and draw them with the curve of each seed."""
    from experiments.pool import play_all
    from experiments.romoa.cells import config_of
    from experiments.romoa.curves import play
    from experiments.romoa.suites import IID, Cell
    from fedsim.build import federation
    from fedsim.results.environment import commit

    shown = sorted({pair for _, _, pairs in PANELS for pair in pairs})
    cells = [
        Cell(data, IID, 10, 0 if attack == CLEAN else attackers, rule, attack, seed)
        for rule, attack in shown
        for seed in range(seeds)
    ]
    federation(config_of(cells[0], root))
    found: dict[Cell, Curves] = {}
    try:
        play_all(partial(play, root=root), cells, workers, found.__setitem__)
    except KeyboardInterrupt as stop:
        raise Interrupted("interrupted: nothing is drawn of a part of the runs") from stop
    command = f"python -m experiments.romoa.figures {shlex.join(sys.argv[1:])}".rstrip()
    remark = f"{command}; commit {commit() or 'unknown+'}, {datetime.now(UTC).date()}"
    out.mkdir(parents=True, exist_ok=True)
    draw(
        out / f"figures_{data}_{attackers}.svg",
        found,
        f"{data}, {attackers} of 10 clients attack, {seeds} seeds",
        remark,
    )
    print(out / f"figures_{data}_{attackers}.svg")


def draw(path: Path, found: Mapping[Cell, Curves], title: str, remark: str) -> None:
    """All panels, two in a row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from experiments.speed.pictures import save

    figure, axes = pyplot.subplots(4, 2, figsize=(9, 12), layout="constrained")
    for axis, (heading, figure_name, pairs) in zip(axes.flat, PANELS, strict=True):
        axis.set_title(heading, fontsize=10, loc="left")
        axis.set(xlabel="round", ylabel=figure_name, ylim=(0, 1.02))
        axis.spines[["top", "right"]].set_visible(False)
        for rule, attack in pairs:
            _lines(axis, found, figure_name, rule, attack, by_attack=len({rule for rule, _ in pairs}) == 1)
        axis.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{title}\nUPA: {UPA}; TPA: {TPA}", x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(remark, fontsize=6, color="#5c6660")
    save(path)


def _lines(axis: Axes, found: Mapping[Cell, Curves], name: str, rule: str, attack: str, by_attack: bool) -> None:
    """A line for each seed."""
    from experiments.romoa.curves import FIGURES

    label = {CLEAN: "no attack", UPA: "UPA", TPA: "TPA"}[attack] if by_attack else rule
    style: dict[str, Any] = {"color": INKS.get(attack if by_attack else rule, "#4a4a4a"), "linewidth": 1.4}
    chosen: Sequence[Curves] = [it for cell, it in found.items() if (cell.rule, cell.attack) == (rule, attack)]
    for number, curves in enumerate(chosen):
        values = [row[FIGURES.index(name)] for row in curves.values]
        axis.plot(curves.rounds, values, DASHES[rule], label=None if number else label, alpha=0.8, **style)


if __name__ == "__main__":
    launch(main)
