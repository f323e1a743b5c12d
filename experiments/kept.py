"""Cells of a study as a table: a line for each, written as cells are played, and read again where play broke off."""

from __future__ import annotations

import csv
import types
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Cell = TypeVar("Cell", bound=DataclassInstance)
    Found = TypeVar("Found", bound=DataclassInstance)
else:
    Cell, Found = TypeVar("Cell"), TypeVar("Found")


class Kept(Generic[Cell, Found]):
    """A file of cells under a head that says how it was made.

    Cells and what is found of them are frozen dataclasses of texts and numbers; their fields are the columns.

    Fields:
        done: what is in it.
        goes_on: whether it could be gone on with later; code that was changed since its commit may change again.
    """

    def __init__(
        self,
        path: Path,
        cell: type[Cell],
        found: type[Found],
        command: str,
        commit: str,
        terms: str,
        known: Callable[[Cell], bool] = lambda cell: True,
        order: Callable[[Cell], Any] = astuple,
    ) -> None:
        """Go on with the file where it is of the same code and terms, with cells that are ``known``; else begin it."""
        self.path, self._cell, self._found, self._order = path, cell, found, order
        self.head = (command, f"commit {commit}, {datetime.now(UTC).date()}", terms)
        self.header = [field.name for kind in (cell, found) for field in fields(kind)]
        self.goes_on = not commit.endswith("+")
        before = _head(path) if self.goes_on and path.is_file() else []
        same = before and before[1].startswith(f"commit {commit}, ") and before[2] == terms
        self.done: dict[Cell, Found] = {it: what for it, what in self._read() if known(it)} if same else {}
        self.write()

    def add(self, cell: Cell, found: Found) -> None:
        """One more cell."""
        self.done[cell] = found
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(_line(cell, found))

    def write(self) -> None:
        """Write the file anew, in order."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(f"# {remark}\n" for remark in self.head)
            ordered = sorted(self.done, key=self._order)
            csv.writer(file, lineterminator="\n").writerows(
                [self.header, *(_line(cell, self.done[cell]) for cell in ordered)]
            )
        beside.replace(self.path)

    def _read(self) -> list[tuple[Cell, Found]]:
        """The cells in the file, but for a last line that was cut off."""
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        rows = csv.DictReader(line for line in lines if not line.startswith("#") and line.endswith("\n"))
        whole = [row for row in rows if None not in row.values() and list(row) == self.header]
        return [(_made(self._cell, row), _made(self._found, row)) for row in whole]


def _line(cell: DataclassInstance, found: DataclassInstance) -> list[str]:
    return [_written(value) for value in (*asdict(cell).values(), *asdict(found).values())]


def _written(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _made(kind: Any, row: Mapping[str, str]) -> Any:
    """A dataclass from its columns."""
    hints = get_type_hints(kind)
    return kind(**{field.name: _value(hints[field.name], row[field.name]) for field in fields(kind)})


def _value(hint: Any, text: str) -> object:
    if isinstance(hint, types.UnionType):
        (kind,) = (it for it in get_args(hint) if it is not types.NoneType)
        return None if text == "" else kind(text)
    return hint(text)


def _head(path: Path) -> list[str]:
    """The first lines of a file, without what marks them as remarks; none where it has no head."""
    lines = path.read_text(encoding="utf-8").splitlines()[:3]
    marked = len(lines) == 3 and all(line.startswith("# ") for line in lines)
    return [line.removeprefix("# ") for line in lines] if marked else []
