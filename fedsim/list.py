"""python -m fedsim.list: every rule, attack, data set, partition, model and objective, with its settings."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

import typer

from fedsim.commands import launch
from fedsim.config import AttackSection
from fedsim.config.entries import NESTED
from fedsim.domain import Mistake
from fedsim.tables import Field, Table, did_you_mean, fields, first_line


def main(
    kind: Annotated[
        str | None,
        typer.Argument(help="only this section: data, partition, model, objective, strategy or attack"),
    ] = None,
) -> None:
    """List what a configuration can name, each with one line and its settings."""
    from fedsim.build import TABLES

    if kind is not None and kind not in TABLES:
        raise Mistake(f"unknown section {kind!r}{did_you_mean(kind, TABLES)}")
    for section, table in TABLES.items():
        if kind in (None, section):
            _print(section, table)


def _print(section: str, table: Table) -> None:
    print(f"[{section}]")
    if section == "attack":
        print(f"  {'(each of them)':<20} the adversary's clients, knowledge, stealth and schedule")
        for name, key in AttackSection.model_fields.items():
            if name != "name":
                print(f"  {'':<20}   {name}: {key.description}, default {_value(key.default)}")
    for name in table.entries:
        entry = table.load(name)
        print(f"  {name:<20} {first_line(entry)}")
        for field in fields(entry):
            print(f"  {'':<20}   {setting(field)}")
    print()


def setting(field: Field) -> str:
    """A setting as one reads it: name, type, bounds, default."""
    bounds = "".join(f", {word}" for word in _bounds(field.type))
    tail = "required" if field.required else f"default {_value(field.default)}"
    return f"{field.name}: {_type(field.type)}{bounds}, {tail}"


def _value(value: Any) -> str:
    if value is None:
        return "left out"
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _type(kind: Any) -> str:
    words = {int: "integer", float: "number", str: "text", bool: "true or false"}
    if kind in words:
        return words[kind]
    if kind in NESTED:
        return f"a {NESTED[kind]}"
    inner = [argument for argument in get_args(kind) if argument not in (type(None), Ellipsis)]
    if hasattr(kind, "__metadata__"):
        return _type(inner[0])
    if get_origin(kind) is tuple:
        return f"list of {_type(inner[0])}s"
    if inner:
        return " or ".join(repr(one) if isinstance(one, str) else _type(one) for one in inner)
    return str(getattr(kind, "__name__", kind)).lower()


def _bounds(kind: Any) -> list[str]:
    found = [
        f"{name} {getattr(bound, key)}"
        for bound in getattr(kind, "__metadata__", ())
        for key, name in _WORDS
        if hasattr(bound, key)
    ]
    return found or [
        word for argument in get_args(kind) if hasattr(argument, "__metadata__") for word in _bounds(argument)
    ]


_WORDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


if __name__ == "__main__":
    launch(main)
