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
    return _curves(runs, "accuracy", "test accuracy") or _svg(_figure(7.2, 4.2)[0])


def target_curves(runs: Sequence[tuple[str, RunFolder]]) -> str:
    """How sure the models are of what a targeted attack wants, over rounds; empty where there is none."""
    return _curves(runs, "target_confidence", "target confidence")


def _curves(runs: Sequence[tuple[str, RunFolder]], column: str, label: str) -> str:
    """A figure between 0 and 1 over rounds, one line a run; empty where no run has it."""
    figure, axes = _figure(7.2, 4.2)
    for place, (name, folder) in enumerate(runs):
        rows = folder.metrics().select(["round", column]).to_pylist()
        tested = [(row["round"], row[column]) for row in rows if row[column] is not None]
        if not tested:
            continue
        rounds, values = zip(*tested, strict=True)
        axes.plot(
            rounds,
            values,
            color=COLOURS[place % len(COLOURS)],
            linestyle=DASHES[place % len(DASHES)],
            linewidth=2.4 if place == 0 else 1.8,
            marker="o" if len(tested) == 1 else None,
            label=f"{name}\n({outcome(folder.summary())})",
        )
    if not axes.lines:
        return ""
    axes.set(xlabel="round", ylabel=label, ylim=(0, 1.02))
    figure.legend(frameon=False, loc="outside upper left", ncols=min(len(runs), 3))
    return _svg(figure)


def sights(folder: RunFolder, attackers: Sequence[int]) -> str:
    """How what the rule saw is spread over the attackers and the others: a panel a figure; empty where it saw nothing.

    As Fig. 4 of Romoa: densities over all rounds, steps and tensors.
    """
    found = folder.diagnostics()
    if found is None:
        return ""
    names = sorted(set(found["figure"].to_pylist()))
    lines = -(-len(names) // 2)
    figure, _ = _figure(7.2, 2.2 * lines)
    figure.clear()
    malicious = np.isin(found["client"].to_numpy(), list(attackers))
    for place, name in enumerate(names):
        axes = figure.add_subplot(lines, min(len(names), 2), place + 1)
        axes.spines[["top", "right", "left"]].set_visible(False)
        values = found["value"].to_numpy()
        chosen = np.array(found["figure"].to_pylist()) == name
        groups = [values[chosen & group] for group in (~malicious, malicious)]
        groups = [group[np.isfinite(group)] for group in groups]
        edges = np.linspace(*_span(np.concatenate(groups)), 41).tolist()
        for group, colour, label in zip(groups, (COLOURS[0], COLOURS[1]), ("honest", "attackers"), strict=True):
            if len(group):
                axes.hist(
                    group, edges, weights=np.full(len(group), 1 / len(group)), color=colour, alpha=0.6, label=label
                )
        axes.set(xlabel=name.replace("_", " "), yticks=[])
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper left", ncols=2)
    return _svg(figure)


def _span(values: np.ndarray) -> tuple[float, float]:
    """The least and the largest of some values, a little apart; (0, 1) of none."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


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
