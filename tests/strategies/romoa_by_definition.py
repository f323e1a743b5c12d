"""Romoa again, as its definition reads: slow loops in float64, sharing no code with ``strategies``.

A factor belongs to a client and a *cell*. In the dense form every parameter is a cell of its own, as in the paper. In
the compact form a cell is (tensor, selected or not): a parameter that is selected now and was not before goes by the
factors of those that were.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.strategies.romoa_scores_by_definition import (
    Array,
    Cell,
    Measures,
    Switches,
    clip_scales,
    measures_of,
    scores_of,
    selection,
    softmax,
)


@dataclass(frozen=True)
class Observed:
    """What one lookahead upload shows.

    Fields:
        finite: places of the rows that are.
        scales: of these, by place.
        selected: of each entry, whether it is in M.
        measures: of the finite rows, in their order.
        trust: each cell's softmax over all n rows, 0 for rows that are not finite.
    """

    finite: list[int]
    scales: dict[int, float]
    selected: list[bool]
    measures: Measures
    trust: dict[Cell, list[float]]


@dataclass(frozen=True)
class Synced:
    """What a sync gives.

    Fields:
        step: (d,) from the weights last synced.
        weights: W, a list of n for each parameter; none where nobody's upload is finite.
        observed: what its uploads show.
    """

    step: Array
    weights: list[list[float]]
    observed: Observed | None


@dataclass
class Romoa:
    """The server of one training.

    Fields:
        tensors: where each tensor lies.
        compact: which of the two forms the factors have.
        standings: a client's, a number a cell: parameter by parameter, or tensor by tensor not selected and selected.
            F n, where all clients are present; F is a client's part of the standings of those that are.
    """

    switches: Switches
    tensors: Sequence[slice]
    compact: bool = False
    standings: dict[int, list[float]] = field(default_factory=dict)

    def observe(self, rows: Array, params: Array, clients: Sequence[int]) -> Observed | None:
        """Steps 1 to 7; None where nobody's upload is finite."""
        for client in clients:
            self.standings.setdefault(
                client, [1.0] * (2 * len(self.tensors) if self.compact else self.tensors[-1].stop)
            )
        observed = self._observed(rows, params)
        if observed is None:
            return None
        beta = self.switches.beta
        for number, cell in enumerate(self._cells(observed.selected)):
            factors, together = self._factors(number, clients), self._together(number, clients)
            for client, trust, factor in zip(clients, observed.trust[cell], factors, strict=True):
                self.standings[client][number] = (beta * trust + (1 - beta) * factor) * together
        return observed

    def aggregate(self, rows: Array, params: Array, clients: Sequence[int]) -> Synced:
        """The sync: observed like the others, and then the step."""
        observed = self.observe(rows, params, clients)
        step = np.zeros_like(params)
        if observed is None:
            return Synced(step, [], None)
        weights = self.weights(observed, clients)
        for w in range(len(step)):
            step[w] = math.fsum(weights[w][i] * observed.scales[i] * rows[i, w] for i in observed.finite)
        return Synced(step, weights, observed)

    def weights(self, observed: Observed, clients: Sequence[int]) -> list[list[float]]:
        """W of the sync: a list of n for each parameter."""
        weights = []
        for w, factors in enumerate(self.dense(observed.selected, clients)):
            trust = observed.trust[self._tensor(w), observed.selected[w]]
            gated = [min(pair) for pair in zip(factors, trust, strict=True)] if self.switches.gate else factors
            kept = [gated[i] if i in observed.finite else 0.0 for i in range(len(clients))]
            weights.append([value / math.fsum(kept) for value in kept])
        return weights

    def dense(self, selected: Sequence[bool], clients: Sequence[int]) -> list[list[float]]:
        """F: a list of n for each parameter; the selection matters to the compact form alone."""
        place = (lambda w: 2 * self._tensor(w) + selected[w]) if self.compact else (lambda w: w)
        return [self._factors(place(w), clients) for w in range(len(selected))]

    def _together(self, number: int, clients: Sequence[int]) -> float:
        return math.fsum(self.standings[client][number] for client in clients)

    def _factors(self, number: int, clients: Sequence[int]) -> list[float]:
        """F in a cell, of those present: it sums to one over them."""
        total = self._together(number, clients)
        return [self.standings[client][number] / total if total > 0 else 1 / len(clients) for client in clients]

    def _cells(self, selected: Sequence[bool]) -> list[Cell]:
        if self.compact:
            return [(tensor, chosen) for tensor in range(len(self.tensors)) for chosen in (False, True)]
        return [(self._tensor(w), selected[w]) for w in range(len(selected))]

    def _tensor(self, w: int) -> int:
        return next(number for number, place in enumerate(self.tensors) if place.start <= w < place.stop)

    def _observed(self, rows: Array, params: Array) -> Observed | None:
        finite = [i for i, row in enumerate(rows) if np.isfinite(row).all()]
        if not finite:
            return None
        usable = rows[finite]
        scales = clip_scales(usable, self.switches.clip)
        shortened = usable if self.switches.reference == "mean" else usable * np.array(scales)[:, None]
        reference = np.array([math.fsum(column) / len(finite) for column in shortened.T])
        selected = selection(params + usable, self.switches.select_ratio)
        measures = measures_of(usable, reference, selected, self.tensors, self.switches.pattern)
        trust = {}
        for cell in itertools.product(range(len(self.tensors)), (False, True)):
            among = dict(zip(finite, softmax(scores_of(measures, cell, self.switches)), strict=True))
            trust[cell] = [among.get(i, 0.0) for i in range(len(rows))]
        return Observed(finite, dict(zip(finite, scales, strict=True)), selected, measures, trust)
