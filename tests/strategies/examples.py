"""One example of every rule of the table, and which laws each keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fedsim.domain import Aggregator, Refused
from strategies import RULES

EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "mean": {},
    "median": {"byzantine": 2},
    "trimmed_mean": {"byzantine": 1, "trim": 2},
    "krum": {"byzantine": 2},
    "multi_krum": {"byzantine": 2, "select": 3},
    "bulyan": {"byzantine": 1},
    "geometric_median": {"byzantine": 1},
    "centered_clipping": {"radius": 0.5, "iterations": 2},
    "norm_clipping": {"bound": 1.5},
    "nnm": {"byzantine": 1},
    "bucketing": {"size": 2, "seed": 5},
}
"""Settings of each rule; those that wrap another are given each of the others in turn."""

WRAPPERS = ("nnm", "bucketing")

NOT_TRANSLATED = ("centered_clipping", "norm_clipping")
"""Rules with a fixed centre: adding c to every update does not add c to the step."""

NOT_UNANIMOUS = ("centered_clipping", "norm_clipping")
"""Rules that do not follow everybody further than they follow anybody."""

TIED = ("nnm(krum)", "nnm(multi_krum)", "nnm(bulyan)")
"""Mixing makes equal rows, groups of which tie in exact arithmetic; rounding decides which is picked."""

BY_ENTRY = ("median", "trimmed_mean", "bulyan", "centered_clipping", "norm_clipping")
"""Rules without one share a client."""


def build(name: str, **inner: Aggregator) -> Aggregator:
    rule: Aggregator = RULES.load(name)(**EXAMPLES[name], **inner)
    return rule


def every_rule() -> dict[str, Aggregator]:
    """By name; a wrapped rule as "nnm(krum)"."""
    plain = {name: build(name) for name in RULES.entries if name in EXAMPLES and name not in WRAPPERS}
    wrapped = {f"{wrapper}({name})": build(wrapper, rule=rule) for wrapper in WRAPPERS for name, rule in plain.items()}
    return plain | wrapped


def rule_named(name: str) -> Aggregator:
    return every_rule()[name]


def least(rule: Aggregator) -> int:
    """The fewest uploads the rule accepts."""
    n = 0
    while True:
        try:
            rule.require(n)
        except Refused:
            n += 1
        else:
            return n


def innermost(name: str) -> str:
    return name.rpartition("(")[2].rstrip(")")


def every(but: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Once for each rule, but those named and, where a plain rule is, those around it."""
    names = [name for name in every_rule() if name not in but and innermost(name) not in but]
    return pytest.mark.parametrize("name", names)
