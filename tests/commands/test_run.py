"""A whole run: what it leaves, that it is the same again, and how it ends early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from safetensors.torch import load_file

from fedsim.domain import Aggregate, Layout, Memory, Refused, Updates
from fedsim.results.keys import METRICS, SUMMARY

Command = Callable[..., Any]


@dataclass(frozen=True)
class FirstClient:
    """A rule of a user's own: the update of the first client, times a factor."""

    factor: float = 1.0

    def require(self, n: int) -> None:
        """Works for any n."""

    def init(self, layout: Layout) -> Memory:
        return {}

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        return Aggregate(updates.deltas[0] * self.factor)


@dataclass(frozen=True)
class Never(FirstClient):
    """A rule that refuses every round."""

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        raise Refused("never refuses everything")


@dataclass(frozen=True)
class WrongShape(FirstClient):
    """A rule whose step has a wrong shape."""

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        return Aggregate(updates.deltas[0, :2])


def only_folder(out: Path) -> Path:
    """The one run folder under ``out``."""
    (found,) = out.glob("*/*")
    return found


def test_a_run_leaves_a_folder_that_explains_itself(command: Command, small: Path, tmp_path: Path) -> None:
    ended = command("run", small, "--quiet")
    assert ended.code == 0
    assert ended.err == ""
    folder = only_folder(tmp_path / "runs")
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary) == list(SUMMARY)
    assert summary["status"] == "finished"
    assert summary["rounds"] == 3
    assert summary["attackers"] == 2
    assert summary["config_hash"] == folder.name
    assert summary["error_rate"] == pytest.approx(1 - summary["accuracy"])
    metrics = pyarrow.parquet.read_table(folder / "metrics.parquet")
    assert metrics.column_names == list(METRICS)
    assert metrics.column("round").to_pylist() == [1, 2, 3]
    assert metrics.column("accuracy").to_pylist()[-1] == summary["accuracy"]
    assert [tuple(tensor.shape) for tensor in load_file(folder / "model.safetensors").values()] == [
        *((8,), (8, 64), (10,), (10, 8))
    ]
    page = (folder / "report.html").read_text()
    assert "trimmed_mean under ipm ends with a test accuracy of" in page
    assert page.count("<svg") == 2
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"]


def test_the_resolved_configuration_is_the_same_experiment(command: Command, small: Path, tmp_path: Path) -> None:
    command("run", small, "--quiet", "strategy.name=nnm", "strategy.byzantine=2", "strategy.rule.name=median")
    folder = only_folder(tmp_path / "runs")
    written = tomllib.loads((folder / "config.toml").read_text())
    assert written["strategy"] == {"name": "nnm", "byzantine": 2, "rule": {"name": "median", "byzantine": 0}}
    command("run", folder / "config.toml", "--quiet", "--out", "again")
    again = only_folder(tmp_path / "again")
    assert again.name == folder.name
    assert comparable(again) == comparable(folder)


def comparable(folder: Path) -> tuple[dict[str, list[object]], bytes]:
    """All that must be the same for the same configuration: the metrics but for the times, and the model."""
    metrics = pyarrow.parquet.read_table(folder / "metrics.parquet").drop_columns(["seconds"])
    return metrics.to_pydict(), (folder / "model.safetensors").read_bytes()


def test_the_same_configuration_gives_the_same_bytes_in_two_processes(small: Path, tmp_path: Path) -> None:
    found = []
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):
        line = [sys.executable, "-m", "fedsim.run", small, f"seed={seed}", "--out", out, "--quiet"]
        subprocess.run(line, cwd=tmp_path, check=True, capture_output=True)
        found.append(comparable(only_folder(tmp_path / out)))
    assert found[0] == found[1]
    assert found[0][0]["loss"] != found[2][0]["loss"]
    assert found[0][1] != found[2][1]


def test_running_the_same_again_says_so_and_reuses(command: Command, small: Path, tmp_path: Path) -> None:
    command("run", small)
    folder = only_folder(tmp_path / "runs")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    again = command("run", small)
    assert f"small: this run is there already, in runs/small/{folder.name}; --force runs it again" in again.err
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    command("run", small, "--force")
    assert (folder / "model.safetensors").stat().st_mtime_ns > before


def test_a_changed_name_lets_foreign_keys_fall_away_and_says_so(command: Command, small: Path) -> None:
    ended = command("run", small, "attack.name=alie", "strategy.name=mean", "rounds=1")
    assert ended.code == 0
    assert "strategy.byzantine: left out, mean has no such key" in ended.err


def test_comparisons_are_runs_of_their_own(command: Command, small: Path, tmp_path: Path) -> None:
    ended = command("run", small, 'compare.undefended.strategy.name="mean"', "--quiet")
    assert "undefended  mean" in ended.out
    found = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "small").glob("*/summary.json")]
    assert sorted(summary["strategy"] for summary in found) == ["mean", "trimmed_mean"]
    report = next((tmp_path / "runs" / "small").glob("*/report.html")).read_text()
    assert "undefended (mean under ipm)" in report


def test_a_comparison_that_cannot_hold_is_refused_before_anything_runs(
    command: Command, small: Path, tmp_path: Path
) -> None:
    ended = command("run", small, "compare.x.strategy={ name = 'krum', byzantine = 4 }")
    assert ended.code == 2
    assert not (tmp_path / "runs").exists()


def test_a_rule_of_ones_own(command: Command, small: Path, tmp_path: Path) -> None:
    ended = command("run", small, f"strategy={{ name = '{__name__}:FirstClient', factor = 0.5 }}", "--quiet")
    assert ended.code == 0
    written = tomllib.loads((only_folder(tmp_path / "runs") / "config.toml").read_text())
    assert written["strategy"] == {"name": f"{__name__}:FirstClient", "factor": 0.5}
    wrong = command("run", small, f"strategy={{ name = '{__name__}:FirstClient', facto = 0.5 }}")
    assert wrong.err == "command line: strategy.facto: unknown key (did you mean 'factor'?); known: factor, name\n"


def test_a_rule_with_a_wrong_shape_is_told(command: Command, small: Path) -> None:
    ended = command("run", small, f"strategy={{ name = '{__name__}:WrongShape' }}", "--quiet")
    assert (ended.code, ended.err) == (2, "small.toml: strategy: the rule's step has shape (2,), not (610,)\n")


def test_too_many_skipped_rounds_stop_the_run(command: Command, small: Path, tmp_path: Path) -> None:
    never = f"strategy={{ name = '{__name__}:Never' }}"
    ended = command("run", small, never, "rounds=9", "server.max_skipped=4", "--quiet")
    reason = "4 rounds in a row were skipped, the last because: never refuses everything"
    assert (ended.code, ended.err) == (1, f"small: stopped: {reason}\n")
    summary = json.loads((only_folder(tmp_path / "runs") / "summary.json").read_text())
    assert (summary["status"], summary["reason"]) == ("stopped", reason)
    assert (summary["rounds"], summary["skipped_rounds"]) == (4, 4)


def test_quiet_prints_the_table_only(command: Command, small: Path) -> None:
    ended = command("run", small, "--quiet")
    assert ended.err == ""
    heading, run, report = ended.out.splitlines()
    assert heading.split() == ["run", "strategy", "attack", "attackers", "accuracy", "loss", "skipped", "seconds"]
    assert run.split()[:3] == ["small", "trimmed_mean", "ipm"]
    assert report.startswith("report: runs/small/")


def test_ctrl_c_leaves_a_readable_folder(small: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "fedsim.run", small, "rounds=100000"]
    process = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ})
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/*/metrics.parquet")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    folder = only_folder(tmp_path / "runs")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert errors.splitlines()[-1] == (
        f"small: interrupted after {summary['rounds']} rounds; saved in {folder.relative_to(tmp_path)}"
    )
    assert pyarrow.parquet.read_table(folder / "metrics.parquet").num_rows == summary["rounds"]
    assert load_file(folder / "model.safetensors")
    assert "interrupted" in (folder / "report.html").read_text()


def test_the_report_tells_of_all_malicious_clients_also_when_few_are_chosen(
    command: Command, small: Path, tmp_path: Path
) -> None:
    chosen = ["clients.count=40", "clients.per_round=5", "attack.clients=9", "strategy={ name = 'mean' }", "rounds=1"]
    assert command("run", small, *chosen, "--quiet").code == 0
    folder = only_folder(tmp_path / "runs")
    assert len(json.loads((folder / "clients.json").read_text())["malicious"]) == 9
    assert "The adversary holds 9 of 40 clients" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (["attack.clients=0"], "note: attack.clients is 0: nobody attacks with ipm"),
        (
            ["attack.name=alie"],
            "note: alie has z = 0.00 at n = 10, f = 2: it does not push away from the honest mean; set attack.z",
        ),
    ],
)
def test_an_attack_that_is_none_is_told_of(command: Command, small: Path, overrides: list[str], note: str) -> None:
    assert note in command("run", small, "rounds=1", *overrides).err.splitlines()


def test_a_damaged_folder_is_run_again(command: Command, small: Path, tmp_path: Path) -> None:
    command("run", small, "--quiet")
    folder = only_folder(tmp_path / "runs")
    for damage in (lambda: (folder / "metrics.parquet").unlink(), lambda: (folder / "summary.json").write_text("{")):
        damage()
        assert command("run", small, "--quiet").code == 0
        assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
        assert (folder / "metrics.parquet").is_file()
