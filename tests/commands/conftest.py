"""Running a command as a user does, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedsim.commands import launch

SMALL = """
name = "small"
seed = 1
rounds = 3
[model]
name = "mlp"
hidden = [8]
[training]
learning_rate = 0.3
[strategy]
name = "trimmed_mean"
byzantine = 2
[attack]
name = "ipm"
clients = 2
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Ended]:
    """Call ``python -m fedsim.<name> arguments`` in an empty folder and return how it ended."""

    def call(name: str, *arguments: object) -> Ended:
        module = __import__(f"fedsim.{name}", fromlist=["main"])
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            launch(module.main)
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return call


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A configuration of three fast rounds, as small.toml in the current folder."""
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    return Path("small.toml")
