"""The table of rules: what it names can be had, and reading it costs no import of PyTorch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import strategies
from fedsim.tables import fields, first_line
from strategies import RULES

_WITHOUT_TORCH = """
import sys
from fedsim.tables import fields, first_line
import strategies
for name in strategies.RULES.entries:
    fields(strategies.RULES.load(name)), first_line(strategies.RULES.load(name))
assert "torch" not in sys.modules, "torch"
"""

_ONLY_KRUM = """
import sys
import strategies
assert not [name for name in sys.modules if name.startswith("strategies.")]
from strategies import Krum
assert "strategies.krum" in sys.modules
assert "strategies.mixing" not in sys.modules
"""


@pytest.mark.parametrize("program", [_WITHOUT_TORCH, _ONLY_KRUM])
def test_imports_come_late(program: str) -> None:
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", RULES.entries)
def test_every_entry_is_a_frozen_dataclass_that_says_what_it_is(name: str) -> None:
    rule = RULES.load(name)
    assert dataclasses.is_dataclass(rule)
    assert rule.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert first_line(rule).endswith(".")
    assert getattr(strategies, rule.__name__) is rule
    assert rule.__name__ in strategies.__all__
    for part in ("Refuses:", "Cost:", "Source:", "Differs from:"):
        assert part in (rule.__doc__ or "")
    for field in fields(rule):
        assert f"{field.name}" in (rule.__doc__ or "")


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(strategies, name) is not None for name in strategies.__all__)
    assert set(strategies.__all__) <= set(dir(strategies))


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Crumb'"):
        _ = strategies.Crumb
