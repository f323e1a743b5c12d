"""Enrolments of three clients on a grid of this process, and what they tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.app import Message, RecordDict

from fedsim.engine.enrolment import Enrolment
from tests.flower.grids import Fault, InProcessGrid

THREE = 3


def enrolled(grid: InProcessGrid) -> tuple[Enrolment, list[str]]:
    """An enrolment after its first look, and the lines it told."""
    lines: list[str] = []
    made = Enrolment(grid, THREE, lines.append)
    made.refresh()
    return made, lines


def told(lines: list[str], look: Callable[[], object]) -> list[str]:
    """The new lines."""
    before = len(lines)
    look()
    return lines[before:]


def saying(content: dict[str, Any]) -> Fault:
    """A hello of one's own."""

    def fault(reply: Message) -> Message:
        reply.content = RecordDict(content)
        return reply

    return fault
