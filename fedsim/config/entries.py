"""The part of a configuration that its names decide: what each named entry accepts, read off its dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import Field, create_model

from fedsim.config.sections import Config, Entry
from fedsim.domain import Aggregator, Mistake
from fedsim.tables import Table, fields

NESTED: Mapping[type[Any], str] = {Aggregator: "strategy"}
"""Settings that hold another entry (a rule around a rule), by their type: which table that entry comes from."""


def entry_type(table: Table, cls: type[Any], base: type[Entry], label: str | None = None) -> type[Entry]:
    """The section for one entry of a table: the keys of ``base`` and the entry's own; nested entries stay open."""
    own: dict[str, Any] = {}
    for field in fields(cls):
        kind = Entry if field.type in NESTED else field.type
        own[field.name] = (kind, Field() if field.required else Field(field.default))
    if label is not None:
        own["name"] = (Literal[label], Field(description=(cls.__doc__ or "").strip().partition("\n")[0]))
    name = f"{table.kind.replace(' ', '_')}_{label or cls.__name__}"
    section: type[Entry] = create_model(name, __base__=base, __doc__=cls.__doc__, **own)
    return section


def config_type(raw: Mapping[str, Any], tables: Mapping[str, Table]) -> type[Config]:
    """``Config`` with each table's section replaced by that of the entry that ``raw`` names.

    Raises ``EntryError`` for a name that is in no table and cannot be imported.
    """
    sections: dict[str, Any] = {}
    for key, table in tables.items():
        default: Entry = Config.model_fields[key].get_default(call_default_factory=True)
        written = raw.get(key, {})
        if not isinstance(written, dict) or not isinstance(written.get("name", ""), str):
            continue  # Config itself says what is wrong with it.
        base = type(default)
        section = _section(written, (key,), table, tables, base, default.name)
        sections[key] = (section, Field(default_factory=section))
    return create_model("Config", __base__=Config, **sections)


class EntryError(Mistake):
    """A name that no table has; ``where`` is its place in the configuration."""

    def __init__(self, where: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.where = where


def _section(
    written: Mapping[str, Any],
    where: tuple[str, ...],
    table: Table,
    tables: Mapping[str, Table],
    base: type[Entry],
    default: str | None,
) -> type[Entry]:
    name = written.get("name", default)
    if name is None:
        raise EntryError((*where, "name"), f"missing; one of {', '.join(sorted(table.entries))}")
    try:
        cls = table.load(name)
    except Mistake as error:
        raise EntryError((*where, "name"), str(error)) from error
    section = entry_type(table, cls, base)
    inner: dict[str, Any] = {}
    if default is not None:
        inner["name"] = (str, Field(default))
    for field in fields(cls):
        if field.type in NESTED:
            key = NESTED[field.type]
            nested = written.get(field.name, {})
            if isinstance(nested, dict):
                kind = _section(nested, (*where, field.name), tables[key], tables, Entry, None)
                inner[field.name] = (kind, Field())
    made: Any = create_model(section.__name__, __base__=section, **inner)
    return cast(type[Entry], made)
