"""What a run ran on: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import fedsim

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "flwr", "pydantic", "pyarrow")


def environment(seed: int) -> dict[str, Any]:
    """Versions, machine, git commit of fedsim's own checkout (null elsewhere), time of day and seed."""
    return {
        "fedsim": fedsim.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
    }


def commit() -> str | None:
    """The checked-out commit of fedsim, if it runs from a checkout; with "+" when tracked files were changed."""
    home = Path(fedsim.__file__).parent.parent
    if not (home / ".git").exists():
        return None
    try:
        head = _git(home, "rev-parse", "HEAD")
        return head + ("+" if _git(home, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(home: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(home), *words], capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
