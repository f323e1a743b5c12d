"""What is wrong with a configuration, in the user's words: place, value, what is allowed, nearest valid name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from fedsim.tables import did_you_mean

_EXPECTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "finite_number": "a finite number",
}

_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def sentences(
    errors: Iterable[ErrorDetails], raw: Mapping[str, Any], root: type[BaseModel]
) -> list[tuple[tuple[str | int, ...], str]]:
    """For each thing wrong, its place and a sentence; the branches of a union are told as one."""
    grouped: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_written(error, raw), []).append(error)
    return [(where, _sentence(where, group, root)) for where, group in grouped.items()]


def dotted(where: Sequence[str | int]) -> str:
    """A place as it is written in an override: ``attack.clients.2``."""
    return ".".join(str(part) for part in where)


def _written(error: ErrorDetails, raw: Mapping[str, Any]) -> tuple[str | int, ...]:
    """The error's place, without the names pydantic adds for the branches of a union."""
    where = error["loc"]
    if error["type"] == "missing":
        return where
    value: Any = raw
    for depth, part in enumerate(where):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return where[:depth]
    return where


def _sentence(where: tuple[str | int, ...], group: list[ErrorDetails], root: type[BaseModel]) -> str:
    telling = [error for error in group if error["type"] not in _EXPECTED]
    if not telling:
        expected = " or ".join(dict.fromkeys(_EXPECTED[error["type"]] for error in group))
        section = _model(_annotation_at(root, where))
        if section is not None and "name" in section.model_fields:
            expected = f"{expected} with a name, such as {dotted(where)}.name={group[0]['input']}"
        return f"expected {expected}, got {_shown(group[0]['input'])}"
    error = telling[0]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(where[-1]), _keys_at(root, where[:-1]))}"
    if kind == "missing":
        return "missing; this key is required"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{_shown(error['input'])} is out of range; must be {words} {context[bound]}"
    if kind == "literal_error":
        field = _annotation_at(root, where)
        return f"{_shown(error['input'])} is not allowed{did_you_mean(str(error['input']), _choices(field))}"
    if kind == "string_pattern_mismatch" and where[-1] == "device":
        return f"{_shown(error['input'])} is no device; such as 'cpu', 'cuda' or 'cuda:1'"
    if kind == "string_pattern_mismatch":
        letters = "letters, digits, '.', '_' and '-', beginning with a letter or digit"
        return f"{_shown(error['input'])} is not a name: {letters}"
    return error["msg"].removeprefix("Value error, ")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a table"
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)


def _annotation_at(root: type[BaseModel], where: Sequence[str | int]) -> Any:
    here: Any = root
    for part in where:
        model = _model(here)
        if model is None or part not in model.model_fields:
            return None
        here = model.model_fields[str(part)].annotation
    return here


def _keys_at(root: type[BaseModel], where: Sequence[str | int]) -> list[str]:
    model = _model(_annotation_at(root, where))
    return [] if model is None else list(model.model_fields)


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _choices(annotation: Any) -> list[str]:
    """The strings of a Literal, also inside an Optional."""
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) else _choices(argument)
    return found
