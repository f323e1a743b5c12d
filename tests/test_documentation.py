"""The README says what the program does."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients import ATTACKS
from fedsim.build import TABLES
from fedsim.results.diagnostics import COLUMNS
from fedsim.results.keys import METRICS, SUMMARY
from strategies import RULES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("key", "meaning"), [*SUMMARY.items(), *METRICS.items(), *COLUMNS.items()])
def test_every_result_is_documented(key: str, meaning: str) -> None:
    assert f"| `{key}` | {meaning} |" in README


@pytest.mark.parametrize("name", [*RULES.entries, *ATTACKS.entries, *TABLES["data"].entries, *TABLES["model"].entries])
def test_every_entry_is_named(name: str) -> None:
    if name not in ("none", "folder", "shell"):
        assert name in README


def test_the_first_line_says_what_it_is() -> None:
    assert README.splitlines()[0] == "# fedsim: a federated-learning simulator with adversarial clients"


def test_the_install_command_is_the_one_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in ('-e ".[dev]"', "python -m tests"):
        assert command in README
        assert command in ci
