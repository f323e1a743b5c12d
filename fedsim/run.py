"""python -m fedsim.run CONFIG: run an experiment and report it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fedsim.commands import Interrupted, launch
from fedsim.domain import Mistake


def main(
    config: Annotated[Path, typer.Argument(help="the experiment, a TOML file")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="changes to it, such as strategy.name=krum seed=3"),
    ] = None,
    out: Annotated[Path, typer.Option(help="where the run's folder is made, as OUT/name/id")] = Path("runs"),
    force: Annotated[bool, typer.Option("--force", help="run again what is there already")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="print the final table and where the report lies, nothing else")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on where an interrupted run stopped")] = False,
) -> None:
    """Run a federated-learning experiment under attack, and leave a folder with its report.

    CONFIG is the experiment, a TOML file; each KEY=VALUE changes it, such as strategy.name=krum seed=3.
    """
    # Loading torch takes seconds, and --help must not.
    from fedsim.build import TABLES, check
    from fedsim.config import read
    from fedsim.display import Display, final_table
    from fedsim.experiment import run
    from fedsim.results.report import write_report

    reading = read(config, overrides or [], TABLES)
    wanted = {reading.config.name: reading.config, **reading.compared}
    folders = {}
    with Display(quiet) as display:
        for note in reading.notes:
            display.note(note)
        for label, experiment in wanted.items():
            with _placed(config, label if label in reading.compared else None):
                for note in check(experiment):
                    display.note(note)
        for label, experiment in wanted.items():
            with _placed(config, label if label in reading.compared else None):
                folders[label] = run(experiment, label, out, force, display, resume=resume)
            if folders[label].summary()["status"] == "interrupted":
                break
    report = write_report(list(folders.items()))
    final_table(folders, report)
    for label, folder in folders.items():
        found = folder.summary()
        if found["status"] == "interrupted":
            raise Interrupted(f"{label}: interrupted after {found['rounds']} rounds; saved in {folder.path}")
    main_run = folders[reading.config.name].summary()
    if main_run["status"] == "stopped":
        print(f"{reading.config.name}: stopped: {main_run['reason']}", file=sys.stderr)
        raise typer.Exit(1)


@contextmanager
def _placed(config: Path, comparison: str | None) -> Iterator[None]:
    """Say of a mistake where it stands: in the file, and under which comparison."""
    try:
        yield
    except Mistake as mistake:
        if str(mistake).startswith("--"):
            raise
        place = f"{config}: " if comparison is None else f"{config}: compare.{comparison}: "
        raise Mistake(f"{place}{mistake}") from mistake


if __name__ == "__main__":
    launch(main)
