"""Reading a configuration: TOML, overrides from the command line, and the runs to compare with."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsim.config.entries import EntryError, config_type
from fedsim.config.errors import dotted, sentences
from fedsim.config.sections import RIVALS, Config
from fedsim.domain import Mistake
from fedsim.tables import Table

Raw = dict[str, Any]
Where = tuple[str | int, ...]
_BARE = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_.:/~-]*")
"""What may stand without quotes on the command line, and means a string when it is no other TOML value."""


@dataclass(frozen=True)
class Reading:
    """A configuration as it was meant.

    Fields:
        config: the experiment.
        compared: the runs to show beside it, by label; each a configuration of its own.
        notes: what the reader should be told, such as keys that fell away with a change of name.
    """

    config: Config
    compared: Mapping[str, Config]
    notes: tuple[str, ...] = ()


def read(path: Path, overrides: Sequence[str], tables: Mapping[str, Table]) -> Reading:
    """The experiment in the file at ``path``, changed by ``key.path=value`` overrides; ``tables`` by section.

    Raises Mistake with a line for each thing that is wrong.
    """
    raw, notes = _parse(path), []
    split = [_split(override) for override in overrides]
    changes: Raw = {}
    # Names first: they decide which of the other keys there are.
    for parts, value in sorted(split, key=lambda change: change[0][-1] != "name"):
        _apply(changes, parts, value)
        raw, told = merge(_without_rival(raw, changes, parts), _nested(parts, value), tables)
        notes += told
    config = _validated(raw, tables, partial(_place, path, changes))
    compared = {}
    for label, differing in config.compare.items():
        if label == config.name or "compare" in differing:
            what = "is the experiment's own name" if label == config.name else "holds comparisons of its own"
            raise Mistake(f"{_place(path, changes, ('compare', label))}: {what}; a label stands for one other run")
        base = {key: value for key, value in raw.items() if key != "compare"}
        variant, _ = merge(base, differing, tables)
        compared[label] = _validated(variant, tables, partial(_in_comparison, path, changes, label))
    return Reading(config, compared, tuple(notes))


def read_text(text: str, place: str, changes: Mapping[str, Any], tables: Mapping[str, Table]) -> Config:
    """The configuration in ``text``, with ``changes`` laid over it; ``place`` is where it came from, for messages."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{place}: not valid TOML: {error}") from error
    merged, _ = merge(raw, changes, tables)
    return _validated(merged, tables, lambda where: f"{place}: {dotted(where)}")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any], tables: Mapping[str, Table]) -> tuple[Raw, list[str]]:
    """``changes`` laid over ``base``.

    A new name in a section lets the keys of ``base`` fall away that the new entry does not know, and says so. An
    empty table
    takes everything away: ``compare={}``.
    """
    merged: Raw = dict(base)
    notes: list[str] = []
    for key, change in changes.items():
        before = merged.get(key)
        if not (isinstance(before, dict) and isinstance(change, Mapping) and change):
            merged[key] = change
            continue
        if key in tables and change.get("name", before.get("name")) != before.get("name"):
            before = _kept(key, before, change, tables, notes)
        elif "name" in change and key not in tables:
            before = {}  # Another nested entry: it starts afresh.
        merged[key], inner = merge(before, change, {})
        notes += inner
    return merged, notes


def _kept(key: str, before: Raw, change: Mapping[str, Any], tables: Mapping[str, Table], notes: list[str]) -> Raw:
    try:
        section = config_type({key: dict(change)}, {key: tables[key]}).model_fields[key].annotation
    except EntryError:
        return before  # The unknown name is what will be told.
    known = getattr(section, "model_fields", {})
    for gone in [name for name in before if name not in known and name not in change]:
        notes.append(f"{key}.{gone}: left out, {change['name']} has no such key")
    return {name: value for name, value in before.items() if name in known}


def _validated(raw: Raw, tables: Mapping[str, Table], place: Callable[[Where], str]) -> Config:
    try:
        kind = config_type(raw, tables)
    except EntryError as error:
        raise Mistake(f"{place(error.where)}: {error}") from error
    try:
        # By way of JSON, whose arrays are tuples to a strict model.
        return kind.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        told = sentences(error.errors(), raw, kind)
        raise Mistake("\n".join(f"{place(where)}: {sentence}" for where, sentence in told)) from error


def _in_comparison(path: Path, changes: Mapping[str, Any], label: str, where: Where) -> str:
    return _place(path, changes, ("compare", label, *where))


def _place(path: Path, changes: Mapping[str, Any], where: Where) -> str:
    """The place of a value: who wrote it, the command line or the file, and its key."""
    here: Any = changes
    for part in where:
        if not isinstance(here, Mapping):
            break  # A whole value from the command line, such as a list.
        if part not in here:
            return f"{path}: {dotted(where)}"
        here = here[part]
    return f"command line: {dotted(where)}"


def _parse(path: Path) -> Raw:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [other.name for other in _siblings(path)], n=1)
        hint = f" (did you mean '{path.parent / near[0]}'?)" if near else ""
        raise Mistake(f"{path}: no such file{hint}") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Mistake(f"{path}: cannot be read: not UTF-8 text") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Mistake(f"{path}: not valid TOML: {error}") from error


def _siblings(path: Path) -> Iterable[Path]:
    return path.parent.glob("*.toml") if path.parent.is_dir() else ()


def _split(override: str) -> tuple[list[str], Any]:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise Mistake(f"command line: {override!r}: expected key.path=value, such as strategy.name=krum")
    try:
        return parts, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if _BARE.fullmatch(text):
            return parts, text
        raise Mistake(f"command line: {key}: {text!r} is not a TOML value; put quotes around a string") from error


def _apply(changes: Raw, parts: list[str], value: Any) -> None:
    """Write down that the command line set a value."""
    here = changes
    for part in parts[:-1]:
        below = here.setdefault(part, {})
        if not isinstance(below, dict):
            here[part] = below = {}
        here = below
    here[parts[-1]] = value


def _nested(parts: list[str], value: Any) -> Raw:
    """A value at its place in otherwise empty tables."""
    for part in reversed(parts):
        value = {part: value}
    nested: Raw = value
    return nested


def _without_rival(raw: Raw, changes: Mapping[str, Any], parts: list[str]) -> Raw:
    """``raw`` without the key that the one at ``parts`` replaces, unless the command line set that, too."""
    section, key = parts[0], parts[-1]
    for pair in RIVALS.get(section, ()):
        rival = next((other for other in pair if key in pair and other != key), None)
        table = raw.get(section)
        if len(parts) == 2 and rival and isinstance(table, dict) and rival not in changes.get(section, {}):
            return {**raw, section: {name: value for name, value in table.items() if name != rival}}
    return raw
