"""From an entry of a configuration to the object it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any

from clients import ATTACKS
from fedsim.config import AttackSection, Entry
from fedsim.data import DATASETS, PARTITIONS
from fedsim.domain import Mistake
from fedsim.models import MODELS
from fedsim.objectives import OBJECTIVES
from fedsim.tables import Table, fields
from strategies import RULES

TABLES: Mapping[str, Table] = {
    "data": DATASETS,
    "partition": PARTITIONS,
    "model": MODELS,
    "objective": OBJECTIVES,
    "strategy": RULES,
    "attack": ATTACKS,
}
"""Each section of a configuration that names something, and where the names are defined."""

CONTRACTS: Mapping[str, tuple[str, ...]] = {
    "data": ("load",),
    "partition": ("__call__",),
    "model": ("build",),
    "objective": ("loss",),
    "strategy": ("require", "init", "__call__"),
    "attack": ("needs", "require", "__call__"),
}
"""What a class must have to take part in a section."""


def made(key: str, entry: Entry) -> Any:
    """The object an entry of the configuration stands for; entries inside it become objects first."""
    return _object(key, TABLES[key], entry)


def _object(key: str, table: Table, entry: Entry) -> Any:
    cls = table.load(entry.name)
    wanted = CONTRACTS[key.partition(".")[0]]
    absent = [name for name in wanted if not any(name in vars(kind) for kind in cls.__mro__)]
    if absent:
        raise Mistake(f"{key}.name: {entry.name!r} is no {table.kind}: it has no {', no '.join(absent)}")
    common = set(AttackSection.model_fields if key == "attack" else Entry.model_fields)
    settings = {}
    for field in fields(cls):
        if field.name in common:
            raise Mistake(f"{key}.name: {entry.name!r} has a field {field.name!r}, a key of every {table.kind}")
        value = getattr(entry, field.name)
        settings[field.name] = _object(f"{key}.{field.name}", RULES, value) if isinstance(value, Entry) else value
    try:
        return cls(**settings)
    except Mistake as mistake:
        raise Mistake(f"{key}: {mistake}") from mistake


def seeded(rule: Any, seed: int) -> Any:
    """The rule, and any inside it, with the run's seed where it draws and has none of its own."""
    own = {field.name: getattr(rule, field.name) for field in fields(type(rule))}
    changes = {name: seeded(value, seed) for name, value in own.items() if is_dataclass(value)}
    if "seed" in own and own["seed"] is None:
        changes["seed"] = seed
    return replace(rule, **changes) if changes else rule
