"""Going on where a run stopped ends with the bytes of a run that never stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import fedsim.experiment
from fedsim.engine.round import play_round

Command = Callable[..., Any]
SETTINGS = {
    "a rule with memory": ["strategy={ name = 'centered_clipping', radius = 0.5 }", "server.momentum=0.5"],
    "a rule around a rule": ["strategy={ name = 'bucketing', size = 2, rule = { name = 'median' } }"],
    "sampling": ["clients.per_round=6", "attack.probability=0.5"],
    "clients that keep their models": ["training.moving_rate=0.5", "training.steps=2", "clients.per_round=6"],
    "dropout of uploads": ["attack={ name = 'random', sigma = 1e39, clients = 2 }"],
}


def comparable(folder: Path) -> tuple[Any, bytes]:
    metrics = pyarrow.parquet.read_table(folder / "metrics.parquet").drop_columns(["seconds"]).to_pylist()
    return json.dumps(metrics), (folder / "model.safetensors").read_bytes()


def stop_after(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the round after ``rounds``."""
    played = []

    def once(*arguments: Any) -> Any:
        if len(played) == rounds:
            raise KeyboardInterrupt
        played.append(1)
        return play_round(*arguments)

    monkeypatch.setattr(fedsim.experiment, "play_round", once)


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("stopped", [1, 4])
def test_a_resumed_run_ends_with_the_same_bytes(
    command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, stopped: int
) -> None:
    settings = [*SETTINGS[case], "rounds=6", "--quiet"]
    assert command("run", small, *settings, "--out", "whole").code == 0
    (whole,) = tmp_path.glob("whole/*/*")
    with monkeypatch.context() as patch:
        stop_after(stopped, patch)
        assert command("run", small, *settings, "--out", "parts").code == 130
    (parts,) = tmp_path.glob("parts/*/*")
    assert json.loads((parts / "summary.json").read_text())["rounds"] == stopped
    ended = command("run", small, *settings, "--out", "parts", "--resume")
    assert ended.code == 0
    assert comparable(parts) == comparable(whole)
    assert json.loads((parts / "summary.json").read_text())["status"] == "finished"


def test_resuming_says_from_where(
    command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        command("run", small)
    assert "small: going on after round 2" in command("run", small, "--resume").err


def test_without_a_checkpoint_a_resumed_run_starts_at_the_beginning(command: Command, small: Path) -> None:
    assert command("run", small, "--resume", "--quiet").code == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"not a checkpoint", "is no checkpoint: "), (b"\xff" * 8 + b"{}", "is no checkpoint: ")],
)
def test_a_broken_checkpoint_is_refused(
    command: Command, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, sentence: str
) -> None:
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        command("run", small)
    (state,) = tmp_path.glob("runs/*/*/checkpoint/state.safetensors")
    state.write_bytes(content)
    ended = command("run", small, "--resume")
    assert ended.code == 2
    assert ended.err.startswith(f"--resume: {state.relative_to(tmp_path)} {sentence}")
