"""python -m experiments.defenses_at_a_glance: the final accuracy of each rule under IPM, over seeds, as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer
from rich.progress import track

from fedsim.build import TABLES
from fedsim.commands import launch
from fedsim.config import read
from fedsim.display import Display
from fedsim.experiment import run
from fedsim.results.environment import commit

HERE = Path(__file__).parent
DEFENSES: dict[str, Sequence[str]] = {
    "mean, no attack": ["strategy.name=mean", "attack.name=none"],
    "mean": ["strategy.name=mean"],
    "median": ["strategy.name=median", "strategy.byzantine=2"],
    "trimmed_mean": ["strategy.name=trimmed_mean", "strategy.byzantine=2"],
    "krum": ["strategy.name=krum", "strategy.byzantine=2"],
    "multi_krum": ["strategy.name=multi_krum", "strategy.byzantine=2"],
    "bulyan (n = 11)": ["strategy.name=bulyan", "strategy.byzantine=2", "clients.count=11"],
    "geometric_median": ["strategy.name=geometric_median", "strategy.byzantine=2"],
    "centered_clipping": ["strategy.name=centered_clipping", "strategy.radius=0.5"],
    "norm_clipping": ["strategy.name=norm_clipping", "strategy.bound=0.5"],
    "nnm + krum": [
        'strategy={ name = "nnm", byzantine = 2, rule = { name = "krum", byzantine = 2 } }',
    ],
    "bucketing + median": [
        'strategy={ name = "bucketing", size = 2, rule = { name = "median", byzantine = 2 } }',
    ],
}


def main(
    seeds: Annotated[int, typer.Option(help="how many seeds, from 1")] = 3,
    out: Annotated[Path, typer.Option(help="where the runs' folders are made")] = Path("runs"),
    table: Annotated[Path, typer.Option(help="the table to write")] = HERE / "table.csv",
) -> None:
    """Run every defense for every seed and write the table."""
    rows = []
    with Display(quiet=True) as display:
        for label, overrides in track(DEFENSES.items(), "defenses"):
            found = []
            for seed in range(1, seeds + 1):
                reading = read(HERE / "base.toml", [*overrides, f"seed={seed}"], TABLES)
                found.append(run(reading.config, label, out, False, display).summary()["accuracy"])
            rows.append([label, *(f"{accuracy:.3f}" for accuracy in found), f"{mean(found):.3f}"])
            print(*(f"{cell:<20}" for cell in rows[-1]))
    table.write_text(_published(rows, seeds), encoding="utf-8")


def _published(rows: list[list[str]], seeds: int) -> str:
    text = io.StringIO()
    text.write(f"# python -m experiments.defenses_at_a_glance --seeds {seeds}\n")
    text.write(f"# commit {commit()}, {datetime.now(UTC).date()}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["defense", *(f"seed {seed}" for seed in range(1, seeds + 1)), "mean"])
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    launch(main)
