"""python -m tests: every check of the project, one after the other; stops at the first that fails."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON = sys.executable
CHECKS = {
    "format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "lint": [PYTHON, "-m", "ruff", "check", "."],
    "types": [PYTHON, "-m", "mypy"],
    "import rules": [str(Path(PYTHON).parent / "lint-imports")],
    "real processes": [PYTHON, "-m", "pytest", "-m", "slow"],
    "tests": [PYTHON, "-m", "pytest", "-m", "not slow", "-n", "2"],
}


def main() -> int:
    """Run the quickstart itself, then the checks, from the project's root."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as out:
        quickstart = [PYTHON, "-m", "fedsim.run", "experiments/quickstart.toml", "--out", out]
        for name, command in {"quickstart": quickstart, **CHECKS}.items():
            print(f"== {name}", flush=True)
            if code := subprocess.run(command, cwd=root).returncode:
                print(f"== {name} failed", flush=True)
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
