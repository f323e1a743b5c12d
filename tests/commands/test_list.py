"""The list of what can be named, and the schema for editors."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fedsim.build import TABLES
from fedsim.config.schema import schema
from fedsim.tables import fields, first_line

ROOT = Path(__file__).parents[2]
Command = Callable[..., Any]


def test_every_entry_is_listed_with_its_line_and_settings(command: Command) -> None:
    printed = command("list").out
    for section, table in TABLES.items():
        assert f"[{section}]" in printed
        for name in table.entries:
            entry = table.load(name)
            assert first_line(entry), f"{name} has no line to show"
            assert f"{name:<20} {first_line(entry)}" in printed
            for field in fields(entry):
                assert f"{field.name}: " in printed


def test_settings_read_as_words(command: Command) -> None:
    lines = [line.strip() for line in command("list", "strategy").out.splitlines()]
    assert "byzantine: integer, at least 0, required" in lines
    assert "radius: number, above 0, required" in lines
    assert "rule: a strategy, required" in lines
    assert "hidden: list of integers, at least 1, default [64]" in [
        line.strip() for line in command("list", "model").out.splitlines()
    ]


def test_one_section_or_a_refusal(command: Command) -> None:
    assert "[strategy]" not in command("list", "attack").out
    ended = command("list", "atack")
    assert (ended.code, ended.err) == (
        2,
        "unknown section 'atack' (did you mean 'attack'?); known: "
        "attack, data, model, objective, partition, strategy\n",
    )


@pytest.fixture(scope="module")
def exported() -> dict[str, Any]:
    return schema(TABLES)


CONFIGURATIONS = sorted(path for path in ROOT.glob("experiments/**/*.toml") if path.name != "pyproject.toml")


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_the_schema_admits_our_configurations(exported: dict[str, Any], path: Path) -> None:
    jsonschema.validate(tomllib.loads(path.read_text()), exported)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rounds": 0},
        {"round": 3},
        {"strategy": {"name": "krum"}},
        {"strategy": {"name": "krumm", "byzantine": 2}},
        {"attack": {"name": "ipm", "epsilom": 2.0}},
        {"strategy": {"name": "nnm", "byzantine": 2, "rule": {"name": "krum"}}},
    ],
    ids=json.dumps,
)
def test_the_schema_refuses_what_the_reader_refuses(exported: dict[str, Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, exported)


def test_the_schema_is_valid_json_schema(command: Command) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(command("config.__main__", "--schema").out))
