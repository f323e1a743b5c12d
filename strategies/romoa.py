"""Romoa: clients are watched between syncs, and each tensor of an upload weighs by how usual it has looked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Gt, Le

from fedsim.domain import Aggregate, Layout, Memory, Positive, Refused, Updates
from fedsim.largest import moments_and_largest
from fedsim.lazy import torch
from fedsim.likeness import likeness, sum_of
from fedsim.tables import Settings
from strategies.directions import clip_factors
from strategies.sanitizing import History
from strategies.suspicion import READINGS, Reading, measures, shares_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Doubles = NDArray[np.float64]

Part = Annotated[float, Gt(0), Le(1)]


class Look(NamedTuple):
    """What one observation gives.

    Fields:
        history: after it.
        shares: (n, L, 2) the softmax of this observation alone: of selected entries, and of the others.
        selected: (d,) which entries are selected.
        scales: (n,) how much each update is shortened.
        finite: (n,) which updates are.
    """

    history: History
    shares: Doubles
    selected: Tensor
    scales: Doubles
    finite: NDArray[np.bool_]


@dataclass(frozen=True)
class Romoa(Settings):
    """Watch clients between syncs, and weigh each tensor of their uploads by how usual it has looked.

    With theta_t the last synced model, D_i = theta_i - theta_t and m the median of the |D_i|, at each observation:

        scale_i = min(1, clip m / |D_i|)        r = mean of scale_i D_i
        M = the entries that are, in any theta_i, among the ceil(select_ratio d) of largest absolute value
        S_i = cos(D_i, r) over M; in each tensor, C_i = cos(D_i, r) and P_i = correlation of D_i and r
        f of a measure x = -|x_i - c| / temperature, c the centre of the cluster with most of the clients
        e_i = min(f_S, f_C, f_P) for entries in M; min(0, f_C, f_P) for the others
        s_i = exp(e_i) / sum over j of exp(e_j)        F_i <- beta s_i + (1 - beta) F_i,  at first 1 / n

    and at a sync, which is observed first, with W_i = min(F_i, s_i) / sum over j of min(F_j, s_j):

        romoa = sum of W_i scale_i D_i, entry by entry

    e, s, F and W are the same for all entries of a tensor in M, and for all others of it, so F is held as two numbers a
    client and tensor: an entry that has come into M takes over the past of those that were in it. In tensors of less
    than three entries P is left out; where D_i or r vanish, or for P do not vary, a measure is 0. An upload that is not
    finite is in no statistic, and s_i = 0; without any finite one F stays, and the step is 0. Updates are scaled to
    length 0 if most are 0. Weights are ignored. The shares are means of W over entries.

    Fields:
        reading: "robust" is what stands above; "paper" does not shorten: clip = inf, r = the mean of D_i; "literal" is
            the paper as printed: that, and each client's own centre, f = x_i - c, P by eq. 7, W = F. All that follow
            stand for themselves, and None for what the reading says.
        clip: how many median lengths an update may have; inf does not shorten.
        reference: r of "clipped" updates, or their "mean" as they are.
        centroid: c of the "majority", or of each client's "own" cluster.
        deviation: "two-sided", or "signed": f = (x_i - c) / temperature.
        temperature: how far from c, in a measure, is e times less weight; 0.1, and 1 in the "literal" reading.
        gate: whether W_i is at most what the last observation alone gives; else W = F.
        pattern: P as "pearson" correlation, or as "printed" in eq. 7: C_i / (std D_i std r), which has a unit.
        select_ratio: the paper's gamma in Sec. 3.2; None: 1 / n.
        beta: how much the last observation counts.
    Memory: see ``History``. A client's standing is n F, at first 1, and F its part of the standings of those present,
    who together keep what they have: a cohort of silenced clients alone counts them as equals, and clears none of them
    for later.
    Figures: of the observations since the last sync, ``similarity`` (steps, n) S; ``layer_cosine`` and
    ``layer_pattern`` (steps, n, L) C and P; ``factor`` (steps, n, L, 2) F in M and elsewhere; nan where not observed.
    Refuses: an empty round; n = 2, of which none is the majority; a round without ``params``.
    Cost: an observation, O(n d) time, a few vectors beside the input, and O(n^2) for each measure; a sync the same, and
    two weighted sums.
    Source: Mao et al., ESORICS 2021, Algorithm 2 and eqs. 4 to 11; clusters as in ``fedsim.meanshift``.
    Differs from: the paper where ``reading`` says; it starts clients from models of their own, where they are handed
    one, and takes S element by element, where it is no more than a sign.
    """

    reading: Literal["robust", "paper", "literal"] = "robust"
    clip: Positive | None = None
    reference: Literal["clipped", "mean"] | None = None
    centroid: Literal["majority", "own"] | None = None
    deviation: Literal["two-sided", "signed"] | None = None
    temperature: Positive | None = None
    gate: bool | None = None
    pattern: Literal["pearson", "printed"] | None = None
    select_ratio: Part | None = None
    beta: Part = 0.5

    def require(self, n: int) -> None:
        """Refuse an empty round, and two uploads."""
        if n < 1:
            raise Refused(f"romoa refuses n = {n} uploads: it needs n >= 1")
        if n == 2:
            raise Refused("romoa refuses n = 2 uploads: neither is a majority; it needs n >= 3, or one alone")

    def init(self, layout: Layout) -> Memory:
        """Nobody observed yet."""
        return History.empty(layout).memory

    def observe(self, updates: Updates, memory: Memory) -> Memory:
        """The memory after uploads that clients send on their way to a sync."""
        self.require(len(updates))
        return self._look(updates, History.of(memory)).history.memory

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Observe the uploads of a sync, and aggregate them."""
        self.require(len(updates))
        clients = updates.clients.cpu().numpy()
        look = self._look(updates, History.of(memory))
        weights = look.history.factors_of(clients)
        if self._chosen.gate:
            weights = np.minimum(weights, look.shares)
        weights[~look.finite] = 0
        figures, after = look.history.figures(clients), look.history.synced().memory
        if not look.finite.any():
            return Aggregate(torch.zeros_like(updates.deltas[0]), after, figures=figures)
        weights /= weights.sum(axis=0)
        step, shares = _combined(updates.deltas, look, weights)
        return Aggregate(step, after, shares, figures)

    @property
    def _chosen(self) -> Reading:
        """What is set, and what the reading says of the rest."""
        said = vars(READINGS[self.reading])
        mine = {name: getattr(self, name) for name in said}
        return Reading(**{name: said[name] if value is None else value for name, value in mine.items()})

    def _look(self, updates: Updates, history: History) -> Look:
        """One observation."""
        rows, clients, edges = updates.deltas, updates.clients.cpu().numpy(), history.edges
        if updates.params is None:
            raise Refused("romoa refuses a round without params: it needs the model that the clients started from")
        n, d = rows.shape
        own, selected = moments_and_largest(rows, updates.params, self._count(n, d), edges)
        finite, seen = np.isfinite(own.lengths), np.full((n, len(edges) - 1, 3), np.nan)
        before, left = history.factors_of(clients), int(finite.sum())
        if not left:
            return Look(history.after(clients, before, seen), np.zeros_like(before), selected, np.ones(n), finite)
        if self._count(left, d) != self._count(n, d):
            _, selected = moments_and_largest(rows, updates.params, self._count(left, d), edges)
        scales = self._scales(own.lengths, finite)
        told = scales if self._chosen.reference == "clipped" else finite
        alike = likeness(rows, own, sum_of(rows, told / left), selected, edges)
        seen[finite] = measures(alike, own.sizes, self._chosen)[finite]
        shares = np.zeros_like(before)
        shares[finite] = shares_of(seen[finite], self._chosen)
        factors = self.beta * shares + (1 - self.beta) * before
        return Look(history.after(clients, factors, seen), shares, selected, scales, finite)

    def _count(self, n: int, d: int) -> int:
        """How many entries of each of n uploads are selected."""
        return math.ceil(self.select_ratio * d) if self.select_ratio else -(-d // n)

    def _scales(self, lengths: Doubles, finite: NDArray[np.bool_]) -> Doubles:
        """(n,) how much each update is shortened; 0 where not finite."""
        middle, clip = float(np.median(lengths[finite])), self._chosen.clip
        scales = np.zeros_like(lengths)
        scales[finite] = clip_factors(lengths[finite], clip * middle if math.isfinite(clip) else math.inf)
        return scales


def _combined(rows: Tensor, look: Look, weights: Doubles) -> tuple[Tensor, Tensor]:
    """The step (d,) and the shares (n,) of rows (n, d), from weights (n, L, 2)."""
    step, shares = torch.empty_like(rows[0]), np.zeros(len(rows))
    for tensor, span in enumerate(look.history.spans):
        part, selected = rows[:, span], look.selected[span]
        inside, outside = (sum_of(part, weights[:, tensor, side] * look.scales) for side in (0, 1))
        step[span] = torch.where(selected, inside, outside)
        count = int(selected.sum())
        shares += weights[:, tensor] @ [count, len(selected) - count]
    return step, torch.from_numpy(shares / len(step)).to(rows)
