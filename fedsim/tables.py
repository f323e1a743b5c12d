"""Tables: from a name in a configuration to a class, with what it accepts read off its dataclass fields."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le

from fedsim.domain import Mistake


@dataclass(frozen=True)
class Field:
    """One setting of a table entry: its name, type (with bounds) and default."""

    name: str
    type: Any
    default: Any
    required: bool


class Settings:
    """Base of table entries: the bounds in their annotations hold however the object was made."""

    def __post_init__(self) -> None:
        for field in fields(type(self)):
            value = getattr(self, field.name)
            for bound in _bounds(field.type):
                if isinstance(value, int | float) and (broken := _broken(bound, value)):
                    raise Mistake(f"{type(self).__name__}.{field.name}: {value} is out of range; must be {broken}")


@dataclass(frozen=True)
class Table:
    """Names of one kind of thing and where each is defined, as "module:Class"; nothing is imported until asked for."""

    kind: str
    entries: Mapping[str, str]

    def load(self, name: str) -> type[Any]:
        """The class behind a name of the table, or behind the user's own "package.module:Class"."""
        if name in self.entries:
            entry: type[Any] = _imported(self.entries[name])
            return entry
        if ":" not in name:
            raise Mistake(f"unknown {self.kind} {name!r}{did_you_mean(name, self.entries)}")
        if not all(part.isidentifier() for part in name.replace(":", ".", 1).split(".")):
            raise Mistake(f'{self.kind} {name!r} is not of the form "package.module:Class"')
        try:
            found = _imported(name)
        except ImportError as error:
            raise Mistake(f"cannot import {self.kind} {name!r}: {error}") from error
        except AttributeError as error:
            raise Mistake(f"no such {self.kind}: {error}") from error
        if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
            raise Mistake(f"{self.kind} {name!r} must be a dataclass; its fields are its settings")
        return found


def fields(entry: type[Any]) -> tuple[Field, ...]:
    """The settings of a table entry, in the order in which its class declares them."""
    hints = get_type_hints(entry, include_extras=True)
    return tuple(
        Field(
            name=field.name,
            type=hints[field.name],
            default=field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default,
            required=field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(entry)
        if field.init
    )


def first_line(entry: type[Any]) -> str:
    """What the entry is, in one line: the first of its docstring."""
    return (entry.__doc__ or "").strip().partition("\n")[0]


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The tail of an error about a name: the nearest valid one, and all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{hint}; known: {', '.join(names) or 'none'}"


def _bounds(kind: Any) -> Iterator[object]:
    """The bounds on a number of this type; a type that allows None has those of its other part."""
    if get_origin(kind) in (Union, UnionType):
        for part in get_args(kind):
            yield from _bounds(part)
    yield from getattr(kind, "__metadata__", ())


def _broken(bound: object, value: float) -> str | None:
    """What ``value`` should have been, if it lies outside ``bound``."""
    if isinstance(bound, Ge) and not value >= bound.ge:  # type: ignore[operator]
        return f"at least {bound.ge}"
    if isinstance(bound, Gt) and not value > bound.gt:  # type: ignore[operator]
        return f"greater than {bound.gt}"
    if isinstance(bound, Le) and not value <= bound.le:  # type: ignore[operator]
        return f"at most {bound.le}"
    return None


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
