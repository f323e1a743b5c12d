"""How every command starts and ends: the user's mistakes are one sentence and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from fedsim.domain import Mistake


class Interrupted(Exception):
    """Ctrl-C stopped the work; the sentence says what was saved."""


def launch(command: Callable[..., Any]) -> None:
    """Run a typer command: 0 for success, 1 for a run that stopped, 2 for the user's mistakes, 130 after Ctrl-C."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app()
    except Mistake as mistake:
        _end(str(mistake), 2)
    except Interrupted as interrupted:
        _end(str(interrupted), 130)
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _end(sentence: str, code: int) -> None:
    print(sentence, file=sys.stderr)
    sys.exit(code)
