"""What a run shows on the terminal: a progress bar a run, and a small table at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fedsim.domain import Round
from fedsim.results.folder import RunFolder


class _Rate(ProgressColumn):
    """Rounds a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} rounds/s")


class Display:
    """A progress bar for each run; silent when ``quiet``."""

    def __init__(self, quiet: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[accuracy]}"),
            _Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            disable=quiet,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._progress.stop()

    def start(self, label: str, rounds: int, played: int) -> None:
        """Show a new bar."""
        self._progress.start()
        self._task = self._progress.add_task(label, total=rounds, completed=played, accuracy="accuracy   -  ")

    def advance(self, played: Round) -> None:
        """Move the bar by one round."""
        assert self._task is not None
        if "accuracy" in played.measures:
            shown = f"accuracy {played.measures['accuracy']:.3f}"
            self._progress.update(self._task, advance=1, accuracy=shown)
        else:
            self._progress.update(self._task, advance=1)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(
            text, markup=False, highlight=False, soft_wrap=True
        ) if not self._progress.disable else None


def final_table(folders: Mapping[str, RunFolder], report: Path) -> None:
    """Print the final figures of a run and those it was compared with, and where the report lies."""
    console = Console()
    if not console.is_terminal:
        console.width = 200
    shown = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("run", "strategy", "attack", "attackers", "accuracy", "loss", "skipped", "seconds"):
        shown.add_column(heading, no_wrap=heading != "run")
    for label, folder in folders.items():
        found = folder.summary()
        shown.add_row(
            label,
            found["strategy"],
            found["attack"],
            f"{found['attackers']} of {found['clients']}",
            figure(found["accuracy"]),
            figure(found["loss"], "–" if found["accuracy"] is None else "not finite"),
            str(found["skipped_rounds"]),
            f"{found['seconds']:.1f}",
        )
    console.print(shown)
    console.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)


def figure(value: float | None, absent: str = "–") -> str:
    """Three decimals, or a word for what is no number."""
    if value is None or math.isnan(value):
        return absent
    return f"{value:.3f}" if abs(value) < 1e4 else f"{value:.2e}"
