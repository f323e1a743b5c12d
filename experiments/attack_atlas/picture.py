"""The atlas as a heatmap; matplotlib is loaded when it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from clients import ATTACKS
from experiments.attack_atlas.cells import LABELS, Cell, Found
from experiments.speed.pictures import save
from strategies import RULES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHANCE = 0.1
"""Accuracy on digits without learning: the dark end."""


def draw(path: Path, done: Mapping[Cell, Found], what: str) -> None:
    """Rules by attacks, each with its mean accuracy over seeds; success rates of targeted attacks below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rules = [rule for rule in RULES.entries if any(cell.rule == rule for cell in done)]
    attacks = [attack for attack in ATTACKS.entries if any(cell.attack == attack for cell in done)]
    _, axis = pyplot.subplots(figsize=(2.2 + 0.62 * len(attacks), 1.6 + 0.42 * len(rules)), layout="constrained")
    axis.set_xlim(-0.5, len(attacks) - 0.5)
    axis.set_ylim(len(rules) - 0.5, -0.5)
    for row, rule in enumerate(rules):
        for column, attack in enumerate(attacks):
            cells = [found for cell, found in done.items() if (cell.rule, cell.attack) == (rule, attack)]
            _cell(axis, column, row, cells)
    axis.set_xticks(range(len(attacks)), attacks, rotation=40, ha="left", rotation_mode="anchor", fontsize=9)
    axis.set_yticks(range(len(rules)), [LABELS.get(rule, rule) for rule in rules], fontsize=9)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(
        "Two of eleven clients attack: what each rule keeps", fontsize=11, fontweight="bold", loc="left", pad=12
    )
    axis.set_xlabel(
        f"Final accuracy on clean test images ({what}), darker is worse; below it, in brackets, how often a "
        "targeted attack got what it wanted.\nHatched: refused. *: rounds were skipped.",
        fontsize=8,
        loc="left",
    )
    save(path)


def _cell(axis: Axes, column: int, row: int, cells: list[Found]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    accuracies = [found.accuracy for found in cells if found.accuracy is not None]
    corner = (column - 0.5, row - 0.5)
    if not accuracies:
        if cells:
            axis.add_patch(Rectangle(corner, 1, 1, facecolor="white", edgecolor="0.6", hatch="////", linewidth=0.5))
        return
    accuracy = mean(accuracies)
    # From 0.05 on: the colours' last twentieth is too near to black for what is written on it.
    shade = 0.05 + 0.95 * min(max((accuracy - CHANCE) / (1 - CHANCE), 0), 1)
    axis.add_patch(Rectangle(corner, 1, 1, facecolor=colormaps["YlOrRd_r"](shade), edgecolor="white", linewidth=1))
    rates = [found.attack_success_rate for found in cells if found.attack_success_rate is not None]
    mark = "*" if any(found.skipped_rounds for found in cells) else ""
    text = f"{accuracy:.2f}{mark}" + (f"\n({mean(rates):.2f})" if rates else "")
    axis.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if shade < 0.4 else "black")
