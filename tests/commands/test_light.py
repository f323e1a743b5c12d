"""What answers at once: help, the list and the schema never load torch or Flower."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "('torch', 'torchvision', 'flwr', 'ray', 'sklearn', 'matplotlib', 'pyarrow', 'stable_baselines3')"
PROBE = """
import runpy, sys
sys.argv = [sys.argv[1], *sys.argv[2:]]
try:
    runpy.run_module(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
loaded = [name for name in {heavy} if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize(
    "arguments",
    [
        *(["fedsim.run", "--help"], ["fedsim.list"], ["fedsim.list", "strategy"], ["fedsim.config", "--schema"]),
        ["fedsim.config", "experiments/quickstart.toml"],
        *(["fedsim.serve", "--help"], ["fedsim.join", "--help"], ["fedsim.pki", "--help"]),
    ],
    ids=" ".join,
)
def test_no_heavy_import(arguments: list[str]) -> None:
    root = Path(__file__).parents[2]
    probe = PROBE.format(heavy=HEAVY)
    ended = subprocess.run([sys.executable, "-c", probe, *arguments], cwd=root, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout
