"""One example of every rule of the table, and which laws each keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from fedsim.domain import Aggregate, Aggregator, Layout, Memory, Observer, Refused, Updates
from fedsim.server import root_samples
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
    "fltrust": {},
    "dnc": {"byzantine": 1, "iterations": 2, "coordinates": 3, "seed": 5},
    "foolsgold": {},
    "signguard": {"byzantine": 1, "shortest": 0.0, "longest": 50.0, "coordinates": 0.5, "seed": 5},
    "flame": {"byzantine": 1, "noise": 0.0},
    "romoa": {},
    "nnm": {"byzantine": 1},
    "bucketing": {"size": 2, "seed": 5},
}
"""Settings of each rule; those that wrap another are given each of the others in turn."""

WRAPPERS = ("nnm", "bucketing")

NOT_WRAPPED = ("foolsgold", "romoa")
"""Rules that tell clients apart, where wrappers hand on what is nobody's own."""

NOT_TRANSLATED = ("centered_clipping", "norm_clipping", "fltrust", "foolsgold", "signguard", "flame", "romoa")
"""Rules with a fixed centre, or to which directions matter: adding c to every update does not add c to the step."""

NOT_UNANIMOUS = ("centered_clipping", "norm_clipping", "foolsgold")
"""Rules that do not follow everybody further than they follow anybody, or take the unanimous for one person."""

TIED = ("nnm(krum)", "nnm(multi_krum)", "nnm(bulyan)", "nnm(dnc)")
"""Mixing makes equal rows, groups of which tie in exact arithmetic; rounding decides which is picked."""

RESCALED = ("fltrust", "signguard", "flame", "romoa")
"""Rules whose shares are those of shortened or lengthened updates."""

BY_ENTRY = ("median", "trimmed_mean", "bulyan", "centered_clipping", "norm_clipping")
"""Rules without one share a client."""


@dataclass(frozen=True)
class Told:
    """Gives a rule what the server has: weights that uploads start from, and their mean for an update of its own."""

    rule: Aggregator

    def require(self, n: int) -> None:
        self.rule.require(n)

    def init(self, layout: Layout) -> Memory:
        return self.rule.init(layout)

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        root = updates.deltas.double().mean(dim=0).to(updates.deltas)
        params = torch.linspace(-3, 2, len(root), dtype=root.dtype, device=root.device)
        return self.rule(replace(updates, root=root if root_samples(self.rule) else None, params=params), memory)


def build(name: str, **inner: Aggregator) -> Aggregator:
    rule: Aggregator = RULES.load(name)(**EXAMPLES[name], **inner)
    return Told(rule) if root_samples(rule) or isinstance(rule, Observer) else rule


def every_rule() -> dict[str, Aggregator]:
    """By name; a wrapped rule as "nnm(krum)"."""
    plain = {name: build(name) for name in RULES.entries if name in EXAMPLES and name not in WRAPPERS}
    inner = {name: rule for name, rule in plain.items() if name not in NOT_WRAPPED}
    wrapped = {f"{wrapper}({name})": build(wrapper, rule=rule) for wrapper in WRAPPERS for name, rule in inner.items()}
    return plain | wrapped


def rule_named(name: str) -> Aggregator:
    return every_rule()[name]


def least(rule: Aggregator) -> int:
    """The fewest uploads from which on the rule accepts any number; one alone may be a case of its own."""
    n = 50
    try:
        while n > 0:
            rule.require(n - 1)
            n -= 1
    except Refused:
        pass
    return n


def innermost(name: str) -> str:
    return name.rpartition("(")[2].rstrip(")")


def every(but: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Once for each rule, but those named and, where a plain rule is, those around it."""
    names = [name for name in every_rule() if name not in but and innermost(name) not in but]
    return pytest.mark.parametrize("name", names)
