"""A run's folder: written as the run goes, each file whole or absent."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.config import Config, config_hash, to_toml
from fedsim.domain import Layout, Mistake, Round, ServerState
from fedsim.results import diagnostics
from fedsim.results.checkpoint import dumps, load
from fedsim.results.environment import environment
from fedsim.results.keys import METRICS

if TYPE_CHECKING:
    import pyarrow

FILES = ("config.toml", "environment.json", "clients.json", "metrics.parquet", "model.safetensors")
"""What a finished run has, beside its summary and its report."""

FLUSH_SECONDS = 5.0
"""How much of a running experiment's metrics a crash may cost."""


@dataclass
class RunFolder:
    """The folder of one run, and what will be written into it.

    Fields:
        path: OUT/name/id, the id being the configuration's hash.
        rows: of the metrics so far.
        seen: what the rule saw so far, a table a round; see ``diagnostics.COLUMNS``.
    """

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    seen: list[pyarrow.Table] = field(default_factory=list)
    _flushed: float = 0.0

    @classmethod
    def of(cls, config: Config, out: Path) -> RunFolder:
        """Where the run of ``config`` lies under ``out``, whether or not it exists."""
        return cls(out / config.name / config_hash(config))

    @property
    def finished(self) -> bool:
        """Whether a whole run is there."""
        try:
            ended = self.summary()["status"] == "finished"
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return ended and all((self.path / name).is_file() for name in FILES)

    def summary(self) -> dict[str, Any]:
        """The final figures, see ``keys.SUMMARY``."""
        found: dict[str, Any] = json.loads((self.path / "summary.json").read_text())
        return found

    def metrics(self) -> pyarrow.Table:
        """One row per round, see ``keys.METRICS``."""
        import pyarrow.parquet

        return pyarrow.parquet.read_table(self.path / "metrics.parquet")

    def diagnostics(self) -> pyarrow.Table | None:
        """What the rule saw, see ``diagnostics.COLUMNS``; None where it says nothing of it."""
        import pyarrow.parquet

        path = self.path / "diagnostics.parquet"
        return pyarrow.parquet.read_table(path) if path.is_file() else None

    def clients(self) -> tuple[np.ndarray, list[int]]:
        """(clients, classes) samples of each label at each client, and the ids of the malicious ones."""
        found = json.loads((self.path / "clients.json").read_text(encoding="utf-8"))
        return np.array(found["labels"]), found["malicious"]

    def begin(self, config: Config, labels: np.ndarray, malicious: Sequence[int]) -> None:
        """Make the folder anew, with what is known before the first round. Raises Mistake if it cannot be written."""
        try:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True, exist_ok=True)
            self.write("config.toml", to_toml(config))
            self.write("environment.json", json.dumps(environment(config.seed), indent=2))
            self.write("clients.json", json.dumps({"labels": labels.tolist(), "malicious": list(malicious)}))
        except OSError as error:
            raise Mistake(f"--out: cannot write the run's folder {self.path}: {error.strerror}") from error

    def resume(self, start: ServerState) -> ServerState | None:
        """The newest state on disk, its rows taken up; None without a checkpoint. ``start`` is the run's first."""
        path = self.path / "checkpoint" / "state.safetensors"
        if not path.is_file():
            return None
        state = load(path, start)
        self.rows = [found for found in self.metrics().to_pylist() if found["round"] <= state.round]
        found = self.diagnostics()
        self.seen = [] if found is None else [diagnostics.until(found, state.round)]
        return state

    def record(self, played: Round, seconds: float, state: ServerState) -> None:
        """Add a round; metrics and checkpoint follow every few seconds."""
        self.rows.append(row(played, seconds))
        if played.figures:
            self.seen.append(diagnostics.table(played))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.checkpoint(state)

    def checkpoint(self, state: ServerState) -> None:
        """Write the metrics so far, then the state they lead to."""
        self.flush()
        (self.path / "checkpoint").mkdir(exist_ok=True)
        self.write("checkpoint/state.safetensors", dumps(state))

    def flush(self) -> None:
        """Write the metrics of all rounds so far."""
        import pyarrow
        import pyarrow.parquet

        columns = {name: [found.get(name) for found in self.rows] for name in METRICS}
        table = pyarrow.table(columns, schema=_schema())
        with _replacing(self.path / "metrics.parquet") as draft:
            pyarrow.parquet.write_table(table, draft)
        if self.seen:
            with _replacing(self.path / "diagnostics.parquet") as draft:
                pyarrow.parquet.write_table(pyarrow.concat_tables(self.seen), draft)
        self._flushed = time.monotonic()

    def finish(self, summary: Mapping[str, Any], layout: Layout, state: ServerState) -> None:
        """Write the last metrics and state, the model and, last of all, the summary."""
        from safetensors.torch import save

        self.checkpoint(state)
        tensors = {
            name: state.params[where].reshape(shape).cpu().clone()
            for name, shape, where in zip(layout.names, layout.shapes, layout.slices, strict=True)
        }
        self.write("model.safetensors", save(tensors))
        self.write("summary.json", json.dumps(plain(summary), indent=2))

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file of the folder, whole or not at all."""
        with _replacing(self.path / name) as draft:
            if isinstance(content, str):
                draft.write_text(content, encoding="utf-8")
            else:
                draft.write_bytes(content)


def row(played: Round, seconds: float) -> dict[str, Any]:
    """A round as a row of metrics."""
    return {
        "round": played.number,
        "seconds": seconds,
        "clients": list(played.clients),
        "attackers": list(played.attackers),
        "attackers_present": len(played.attackers),
        "struck": played.struck,
        "dropped": len(played.dropped),
        "drops": [{"client": drop.client, "reason": drop.reason} for drop in played.dropped],
        "skipped": played.skipped,
        **played.measures,
    }


def plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same with null for numbers JSON does not have."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in found.items()
    }


def _schema() -> pyarrow.Schema:
    import pyarrow

    special = {
        "round": pyarrow.int64(),
        "clients": pyarrow.list_(pyarrow.int64()),
        "attackers": pyarrow.list_(pyarrow.int64()),
        "attackers_present": pyarrow.int64(),
        "struck": pyarrow.bool_(),
        "dropped": pyarrow.int64(),
        "drops": pyarrow.list_(pyarrow.struct([("client", pyarrow.int64()), ("reason", pyarrow.string())])),
        "skipped": pyarrow.string(),
        "shares": pyarrow.list_(pyarrow.struct([("client", pyarrow.int64()), ("share", pyarrow.float64())])),
        "class_accuracy": pyarrow.list_(pyarrow.float64()),
    }
    return pyarrow.schema([(name, special.get(name, pyarrow.float64())) for name in METRICS])


class _replacing:
    """A draft beside the file, put in its place when the block ends well."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        os.close(handle)
        self._draft = Path(name)
        return self._draft

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._draft.chmod(0o644)
            self._draft.replace(self._path)
        else:
            self._draft.unlink(missing_ok=True)
