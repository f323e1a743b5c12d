"""The report's pictures, as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.results.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0b6e4f", "#c8553d", "#5b7db1", "#8a6fb0", "#b58900", "#4a4a4a")
"""Told apart also without colour vision; lines differ in their dashes, too."""
DASHES = ("-", "--", ":", "-.")


def accuracy_curves(runs: Sequence[tuple[str, RunFolder]]) -> str:
    """Test accuracy over rounds, one line a run; the first is the experiment itself."""
    figure, axes = _figure(7.2, 4.2)
    for place, (label, folder) in enumerate(runs):
        rows = folder.metrics().select(["round", "accuracy"]).to_pylist()
        tested = [(row["round"], row["accuracy"]) for row in rows if row["accuracy"] is not None]
        if not tested:
            continue
        rounds, accuracy = zip(*tested, strict=True)
        axes.plot(
            rounds,
            accuracy,
            color=COLOURS[place % len(COLOURS)],
            linestyle=DASHES[place % len(DASHES)],
            linewidth=2.4 if place == 0 else 1.8,
            marker="o" if len(tested) == 1 else None,
            label=f"{label}\n({outcome(folder.summary())})",
        )
    axes.set(xlabel="round", ylabel="test accuracy", ylim=(0, 1.02))
    if axes.lines:
        figure.legend(frameon=False, loc="outside upper left", ncols=min(len(runs), 3))
    return _svg(figure)


def label_histogram(labels: np.ndarray, attackers: Sequence[int]) -> str:
    """How many samples of each label each client holds; (clients, classes)."""
    clients, classes = labels.shape
    figure, axes = _figure(8.0, min(1.4 + 0.26 * clients, 9.0))
    image = axes.imshow(labels, aspect="auto", cmap="Greens", vmin=0, interpolation="nearest")
    axes.set(xlabel="label", ylabel="client")
    axes.set_xticks(range(0, classes, math.ceil(classes / 20)))
    shown = range(0, clients, math.ceil(clients / 40))
    axes.set_yticks(shown, [f"{client} ✗" if client in attackers else str(client) for client in shown])
    if labels.size <= 400:
        for client, label in np.ndindex(*labels.shape):
            dark = labels[client, label] > 0.6 * labels.max()
            axes.text(
                *(label, client, str(labels[client, label])),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark else "#222222",
            )
    figure.colorbar(image, ax=axes, label="samples")
    return _svg(figure)


def outcome(summary: Mapping[str, Any]) -> str:
    """Which rule met which attack."""
    attack = f"under {summary['attack']}" if summary["attackers"] else "without attack"
    return f"{summary['strategy']} {attack}"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    import matplotlib

    text = io.StringIO()
    # A fixed salt and no date: the same run draws the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "fedsim", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue()[text.getvalue().index("<svg") :]
