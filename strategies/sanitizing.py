"""What Romoa remembers: every client's factors, by its id, and what was seen of the clients since the last sync."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedsim.domain import Layout, Memory
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Ids = NDArray[np.int64]

SEEN = ("similarity", "layer_cosine", "layer_pattern", "factor_selected", "factor_unselected")
"""What stands in a trace, in this order, for each step, client and tensor; the similarity is one for all tensors."""


@dataclass(frozen=True)
class History:
    """Tables by client id, ascending, of L tensors.

    Fields:
        edges: (L + 1,) where the tensors begin, and where the last one ends.
        clients: (k,) who has been observed.
        standings: (k, L, 2) float64, by how many times its equal part each client weighs: of selected entries, and of
            the others. Factors are parts of a cohort; these outlast it, or one of silenced clients alone would make
            them whole again.
        present: (m,) who has been observed since the last sync.
        trace: (steps, m, L, 5) float64, what was seen of them, as ``SEEN`` says; nan where nothing was.
    """

    edges: Ids
    clients: Ids
    standings: Doubles
    present: Ids
    trace: Doubles

    @classmethod
    def empty(cls, layout: Layout) -> History:
        """Nobody observed yet."""
        weights = [span for span in layout.slices if span.stop <= layout.weights]
        edges = np.array([0, *(span.stop for span in weights)])
        nobody, tensors = np.zeros(0, np.int64), len(weights)
        return cls(edges, nobody, np.zeros((0, tensors, 2)), nobody, np.zeros((0, 0, tensors, len(SEEN))))

    @classmethod
    def of(cls, memory: Memory) -> History:
        """That which a memory holds."""
        return cls(**{name: tensor.cpu().numpy() for name, tensor in memory.items()})

    @property
    def memory(self) -> Memory:
        """This, as a rule's memory."""
        return {name: torch.from_numpy(table) for name, table in vars(self).items()}

    @property
    def spans(self) -> list[slice]:
        """Where each tensor lies."""
        return [slice(*pair) for pair in itertools.pairwise(self.edges.tolist())]

    def factors_of(self, clients: Ids) -> Doubles:
        """(n, L, 2) of clients (n,), summing to one over them; those never observed have an equal part."""
        found = self._standings_of(clients)
        totals = found.sum(axis=0)
        return np.where(totals > 0, found / np.where(totals > 0, totals, 1), 1 / len(clients))

    def after(self, clients: Ids, factors: Doubles, seen: Doubles) -> History:
        """The history once clients (n,) have been observed: their factors (n, L, 2), and what was seen (n, L, 3)."""
        everybody, present = np.union1d(self.clients, clients), np.union1d(self.present, clients)
        table = _looked_up(self.standings, self.clients, everybody, otherwise=0)
        # Together they stand as they stood, however few they are.
        table[np.searchsorted(everybody, clients)] = factors * self._standings_of(clients).sum(axis=0)
        before = _looked_up(self.trace.swapaxes(0, 1), self.present, present, otherwise=np.nan).swapaxes(0, 1)
        now = _looked_up(np.concatenate([seen, factors], axis=2), clients, present, otherwise=np.nan)
        return replace(
            self,
            clients=everybody,
            standings=table,
            present=present,
            trace=np.concatenate([before, now[None]]),
        )

    def _standings_of(self, clients: Ids) -> Doubles:
        return _looked_up(self.standings, self.clients, clients, otherwise=1)

    def synced(self) -> History:
        """The history with nothing seen since the last sync."""
        return replace(self, present=self.present[:0], trace=self.trace[:0, :0])

    def figures(self, clients: Ids) -> Memory:
        """What was seen of clients (n,) since the last sync."""
        trace = torch.from_numpy(_looked_up(self.trace.swapaxes(0, 1), self.present, clients, otherwise=np.nan))
        trace = trace.swapaxes(0, 1)
        return {
            "similarity": trace[..., 0, 0],
            "layer_cosine": trace[..., 1],
            "layer_pattern": trace[..., 2],
            "factor": trace[..., 3:],
        }


def _looked_up(table: Doubles, known: Ids, wanted: Ids, otherwise: float) -> Doubles:
    """The rows of a table, by id, of those that are wanted; all ``otherwise`` for an unknown one."""
    found = np.full((len(wanted), *table.shape[1:]), otherwise, dtype=np.float64)
    _, there, here = np.intersect1d(known, wanted, assume_unique=True, return_indices=True)
    found[here] = table[there]
    return found
