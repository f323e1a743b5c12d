"""Partitions: which client holds which training samples.

flwr-datasets' partitioners take Hugging Face data sets only; these work on an array of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fedsim.domain import Count, Mistake, Positive, PositiveCount
from fedsim.tables import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Labels = NDArray[np.integer]
    Indices = NDArray[np.int64]


_DRAWS = 1000


class Partition(Protocol):
    """Deals samples out to clients: every sample to exactly one of them."""

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices into ``labels`` (m,) that each client holds, ascending; one array a client.

        Refuses more clients than samples.
        """
        ...


def histogram(labels: Labels, parts: Sequence[Indices], classes: int) -> Indices:  # (n, c)
    """How many samples of each class each client holds."""
    return np.stack([np.bincount(labels[part], minlength=classes) for part in parts])


@dataclass(frozen=True)
class Iid(Settings):
    """Shuffle the samples and deal them out evenly: sizes differ by one at most."""

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices each client holds."""
        _require_samples(labels, clients)
        return _ascending(np.array_split(rng.permutation(len(labels)), clients))


@dataclass(frozen=True)
class Dirichlet(Settings):
    """Label skew: each class is dealt out in proportions drawn from a Dirichlet distribution over clients.

    For each class p ~ Dir_n(alpha); client i gets the share p_i of its shuffled samples, rounded so that
    none is lost. Drawn anew, up to 1000 times, until each client holds ``minimum`` samples.

    Fields:
        alpha: the smaller, the fewer classes a client holds; at 100 nearly IID.
        minimum: samples each client holds at least; 0 allows empty clients.
    Refuses: a minimum that 1000 draws do not reach.
    Source: Yurochkin et al., ICML 2019, Sec. 4; Li et al., ICDE 2022 (NIID-Bench).
    Differs from: Hsu et al., arXiv:1909.06335, where each client draws proportions over classes and all are
        of equal size; NIID-Bench's code, which deals no more to a client that has its equal share.
    """

    alpha: Positive = 0.5
    minimum: Count = 1

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices each client holds."""
        _require_samples(labels, clients)
        members = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        edges = self._edges(np.array([len(member) for member in members]), clients, rng)
        pieces = [np.split(member, edge[1:-1]) for member, edge in zip(members, edges, strict=True)]
        return _ascending(np.concatenate(piece) for piece in zip(*pieces, strict=True))

    def _edges(self, sizes: Indices, clients: int, rng: Generator) -> Indices:  # (c, n + 1)
        """Where each class is cut into clients."""
        if self.minimum * clients <= sizes.sum():
            for _ in range(_DRAWS):
                shares = _shares(self.alpha, clients, len(sizes), rng)
                edges = np.stack([_cut(share, size) for share, size in zip(shares, sizes, strict=True)])
                if np.diff(edges).sum(axis=0).min() >= self.minimum:
                    return edges
        raise Mistake(
            f"partition dirichlet: no draw gives {clients} clients at least {self.minimum} "
            f"of {sizes.sum()} samples at alpha {self.alpha}; "
            "raise partition.alpha, lower partition.minimum or use fewer clients"
        )


@dataclass(frozen=True)
class Shards(Settings):
    """Label skew: samples sorted by label are cut into shards, and each client gets a few at random.

    Samples are shuffled, then sorted by label; the sorted row is cut into clients x labels_per_client
    consecutive shards whose sizes differ by one at most; each client gets labels_per_client of them, drawn
    without replacement. It holds that many labels at most if every class is a whole number of shards; each
    border between labels inside a shard adds one.

    Fields:
        labels_per_client: shards each client holds.
    Refuses: more shards than samples.
    Source: McMahan et al., AISTATS 2017, Sec. 3 (200 shards, two for each of 100 clients).
    """

    labels_per_client: PositiveCount = 2

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices each client holds."""
        _require_samples(labels, clients)
        count = clients * self.labels_per_client
        if count > len(labels):
            raise Mistake(
                f"partition shards: {clients} clients with {self.labels_per_client} shards each "
                f"need {count} samples, but there are {len(labels)}; "
                "lower partition.labels_per_client or use fewer clients"
            )
        shuffled = rng.permutation(len(labels))
        shards = np.array_split(shuffled[np.argsort(labels[shuffled], kind="stable")], count)
        hands = rng.permutation(count).reshape(clients, self.labels_per_client)
        return _ascending(np.concatenate([shards[shard] for shard in hand]) for hand in hands)


@dataclass(frozen=True)
class OneLabel(Settings):
    """The extreme of label skew: each client holds samples of one label only.

    Each label that occurs gets one client; each further client joins the label whose clients hold most
    samples each, so that sizes come out as even as they can. Which client holds which label is random, and
    a label's samples are dealt evenly to its clients.

    Refuses: fewer clients than labels, since some samples would then be nobody's.
    Source: the one-class non-IID setting of Zhao et al., arXiv:1806.00582, Sec. 2, for any number of clients.
    """

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices each client holds."""
        _require_samples(labels, clients)
        present, sizes = np.unique(labels, return_counts=True)
        if clients < len(present):
            raise Mistake(
                f"partition one_label: {clients} clients cannot hold {len(present)} labels one each; "
                f"use at least {len(present)} clients"
            )
        holders = np.ones(len(present), dtype=np.int64)
        for _ in range(clients - len(present)):
            holders[np.argmax(sizes / holders)] += 1
        parts = [
            part
            for label, count in zip(present, holders, strict=True)
            for part in np.array_split(rng.permutation(np.flatnonzero(labels == label)), count)
        ]
        return _ascending(parts[part] for part in rng.permutation(clients))


@dataclass(frozen=True)
class BySize(Settings):
    """Quantity skew: samples are IID, but some clients hold many and some few.

    Each client gets one sample; the rest is dealt in proportions drawn from Dir_n(alpha), rounded so that
    none is lost.

    Fields:
        alpha: the smaller, the more unequal the sizes.
    Source: Li et al., ICDE 2022 (NIID-Bench).
    Differs from: NIID-Bench's code, which draws anew until each client holds ten.
    """

    alpha: Positive = 0.5

    def __call__(self, labels: Labels, clients: int, rng: Generator) -> list[Indices]:
        """The indices each client holds."""
        _require_samples(labels, clients)
        edges = _cut(_shares(self.alpha, clients, 1, rng)[0], len(labels) - clients)
        return _ascending(np.split(rng.permutation(len(labels)), (edges + np.arange(clients + 1))[1:-1]))


def _shares(alpha: float, clients: int, rows: int, rng: Generator) -> NDArray[np.float64]:  # (rows, n)
    """Draws from the symmetric Dirichlet distribution."""
    shares = rng.dirichlet(np.full(clients, alpha), rows)
    if not np.allclose(shares.sum(axis=1), 1):
        raise Mistake(f"partition.alpha: {alpha} overflows; 1e6 is as good as equal shares")
    return shares


def _cut(shares: NDArray[np.float64], samples: int) -> Indices:  # (n + 1,)
    """Edges that cut ``samples`` in the proportions ``shares`` (n,); the last gets what rounding leaves."""
    edges = np.zeros(len(shares) + 1, dtype=np.int64)
    edges[1:-1] = np.minimum(np.cumsum(shares)[:-1] * samples, samples)
    edges[-1] = samples
    return edges


def _require_samples(labels: Labels, clients: int) -> None:
    if not 1 <= clients <= len(labels):
        raise Mistake(
            f"partition: {clients} clients cannot share {len(labels)} samples; use from 1 to {len(labels)} clients"
        )


def _ascending(parts: Iterable[NDArray[np.integer]]) -> list[Indices]:
    return [np.sort(part).astype(np.int64) for part in parts]
