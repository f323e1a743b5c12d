"""What a rule saw of each client, as a long table: a row for each number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedsim.domain import Round

if TYPE_CHECKING:
    import pyarrow

COLUMNS = {
    "round": "of the run, from 1; rounds with a test only",
    "figure": "which of the rule's figures; the rule's own page says what each means",
    "step": "of the round's uploads, from 0; the last is the one that counts",
    "client": "its id",
    "tensor": "of the model, from 0; null where the figure is one for all of them",
    "part": "of the tensor, from 0; null where the figure is one for all of it",
    "value": "null where the rule saw none",
}
"""Columns of diagnostics.parquet, a stable interface."""


def table(played: Round) -> pyarrow.Table:
    """The figures of a round, at least one, in order of their names."""
    import pyarrow

    return pyarrow.concat_tables([_of(played, name) for name in sorted(played.figures)])


def until(found: pyarrow.Table, last: int) -> pyarrow.Table:
    """The figures of rounds up to ``last``."""
    import pyarrow.compute

    return found.filter(pyarrow.compute.less_equal(found["round"], last))


def _of(played: Round, name: str) -> pyarrow.Table:
    """The rows of one figure (steps, n, ...)."""
    import pyarrow

    values = np.asarray(played.figures[name].detach().cpu(), dtype=np.float32)
    places = np.indices(values.shape, dtype=np.int32).reshape(values.ndim, -1)
    clients = np.array(played.shown, dtype=np.int64)[places[1]]
    absent = pyarrow.nulls(values.size, pyarrow.int32())
    tensors, parts = (places[axis] if values.ndim > axis else absent for axis in (2, 3))
    columns = [
        np.full(values.size, played.number),
        pyarrow.repeat(name, values.size),
        places[0],
        clients,
        tensors,
        parts,
        pyarrow.array(values.reshape(-1), from_pandas=True),
    ]
    return pyarrow.table(dict(zip(COLUMNS, columns, strict=True)), schema=_schema())


def _schema() -> pyarrow.Schema:
    import pyarrow

    kinds = {"round": pyarrow.int64(), "figure": pyarrow.string(), "client": pyarrow.int64()}
    kinds |= {"value": pyarrow.float32()}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.int32())) for name in COLUMNS])
