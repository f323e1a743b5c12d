"""Rules that mix the updates and hand the mixtures to another rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedsim.domain import Aggregate, Aggregator, Count, Layout, Memory, PositiveCount, Refused, Updates
from fedsim.lazy import torch
from fedsim.seeds import stream
from fedsim.tables import Settings
from strategies.preconditions import enough
from strategies.rows import by_client

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NearestNeighborMixing(Settings):
    """Replace each update by the mean of its nearest, then apply another rule.

    With N(i) the n - f updates nearest to x_i, itself the first of them:

        y_i = (1 / (n - f)) sum over j in N(i) of x_j        nnm = rule(y_1, ..., y_n)

    Equal distances: the lowest index wins. y_i keeps the weight of x_i. Where the rule has shares they are
    carried back: a client has a part of every mixture it is in. Updates with the same nearest have the same
    mixture, so a rule that picks rows meets ties here; float32 mixtures leave those to rounding.

    Fields:
        byzantine: f, the number of clients the server fears; the inner rule has its own.
        rule: what aggregates the mixtures.
    Refuses: n < 2 f + 1, where byzantine updates may fill half a mixture; what the rule refuses.
    Memory: the rule's.
    Cost: O(n^2 d) time, a second (n, d) matrix of memory.
    Source: Allouah et al., "Fixing by Mixing", AISTATS 2023, the algorithm named NNM.
    Differs from: nothing known; the paper leaves ties open.
    """

    byzantine: Count
    rule: Aggregator

    def require(self, n: int) -> None:
        """Refuse n < 2 f + 1, and what the inner rule refuses."""
        enough("nnm", n, self.byzantine, slope=2, offset=1)
        self.rule.require(n)

    def init(self, layout: Layout) -> Memory:
        """The inner rule's memory."""
        return self.rule.init(layout)

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Aggregate one round."""
        self.require(len(updates))
        mixing = self._mixing(updates).to(updates.deltas)
        mixed = replace(updates, deltas=mixing @ updates.deltas)
        inner = self.rule(mixed, memory)
        return inner._replace(shares=None if inner.shares is None else inner.shares @ mixing)

    def _mixing(self, updates: Updates) -> Tensor:
        """(n, n) float64: row i holds the part of each update in mixture i."""
        order, distances = by_client(updates)
        count = len(updates) - self.byzantine
        # An update is the first of its own nearest, also beside others equal to it.
        np.fill_diagonal(distances, -1)
        nearest = distances.argsort(axis=1, kind="stable")[:, :count]
        mixing = np.zeros_like(distances)
        mixing[order[:, None], order[nearest]] = 1 / count
        return torch.from_numpy(mixing)


@dataclass(frozen=True)
class Bucketing(Settings):
    """Average the updates in random buckets, then apply another rule to the averages.

    With pi a random order of the clients and the buckets its runs of s, the last one shorter if s does not
    divide n:

        y_k = mean of x_i over bucket k        bucketing = rule(y_1, ..., y_ceil(n / s))

    Each round draws a new order from the stream (seed, "bucketing", rounds aggregated so far), over the
    client ids in ascending order. Members of a bucket count alike; the bucket weighs the sum of their weights
    and its number stands for a client id. Where the rule has shares, members part their bucket's equally.

    Fields:
        size: s, the members of a bucket; 1 shuffles and mixes nothing.
        rule: what aggregates the averages. One byzantine client spoils its whole bucket, so the rule's f
            stays the number of clients feared while its n shrinks by s.
        seed: names the stream of orders; the run's when left out, and 0 where there is no run.
    Refuses: what the rule refuses of ceil(n / s) uploads.
    Memory: ``round``, an int64 scalar, and the rule's, each name led by ``rule.``.
    Cost: O(n d) time, a (n / s, d) matrix of memory.
    Source: Karimireddy, He and Jaggi, ICLR 2022, Algorithm 1.
    Differs from: the paper's line 3, which divides the shorter last bucket by s too, and so shrinks it.
    """

    size: PositiveCount
    rule: Aggregator
    seed: Count | None = None

    def require(self, n: int) -> None:
        """Refuse what the inner rule refuses of as many uploads as there are buckets."""
        buckets = -(-n // self.size)
        try:
            self.rule.require(buckets)
        except Refused as refusal:
            raise Refused(
                f"bucketing refuses n = {n} uploads with size = {self.size}, which makes {buckets}: {refusal}"
            ) from refusal

    def init(self, layout: Layout) -> Memory:
        """No round played, and the inner rule's memory."""
        return _packed(torch.zeros((), dtype=torch.int64), self.rule.init(layout))

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Aggregate one round."""
        n = len(updates)
        self.require(n)
        played = memory["round"]
        inner = {name.removeprefix("rule."): value for name, value in memory.items() if name != "round"}
        buckets = self._buckets(updates, int(played))
        step, inner_after, shares, figures = self.rule(_averages(updates, buckets), inner)
        if shares is not None:
            parted = torch.empty_like(updates.deltas[:, 0])
            for share, bucket in zip(shares, buckets, strict=True):
                parted[bucket] = share / len(bucket)
            shares = parted
        return Aggregate(step, _packed(played + 1, inner_after), shares, figures)

    def _buckets(self, updates: Updates, played: int) -> tuple[Tensor, ...]:
        """The rows of each bucket."""
        ascending = updates.clients.argsort().to(updates.deltas.device)
        shuffled = torch.from_numpy(stream(self.seed or 0, "bucketing", played).permutation(len(updates)))
        return torch.split(ascending[shuffled.to(ascending.device)], self.size)


def _averages(updates: Updates, buckets: tuple[Tensor, ...]) -> Updates:
    """One row, weight and id for each bucket."""
    rows = updates.deltas.new_empty(len(buckets), updates.deltas.shape[1])
    for row, bucket in zip(rows, buckets, strict=True):
        first, *others = bucket.tolist()
        # Divided before it is summed: the sum of large values may overflow.
        torch.mul(updates.deltas[first], 1 / len(bucket), out=row)
        for other in others:
            row.add_(updates.deltas[other], alpha=1 / len(bucket))
    weights = torch.stack([updates.weights[bucket.to(updates.weights.device)].sum() for bucket in buckets])
    clients = torch.arange(len(buckets), device=updates.clients.device)
    return replace(updates, deltas=rows, weights=weights, clients=clients)


def _packed(played: Tensor, inner: Memory) -> Memory:
    return {"round": played, **{f"rule.{name}": value for name, value in inner.items()}}
