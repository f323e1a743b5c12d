"""Attacks on Romoa by colluders who know how it works; each says why it might get through."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from clients.base import Malicious
from clients.tpa import TargetedPoisoning
from experiments.romoa.adaptive.sight import Sight, disguised
from fedsim.domain import Count, Dataset, Knowledge, Positive, PositiveCount, Refused, Share, View
from fedsim.lazy import torch

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from experiments.romoa.adaptive.plane import Doubles


@dataclass(frozen=True)
class MatchingCosines(Malicious):
    """Be in every measure what the median honest client is, and beyond that as harmful as can be.

    Romoa judges an upload by S, and by the cosine C and the correlation P of each tensor, all with the mean r of the
    uploads: 2 L + 1 numbers of d. Rows whose numbers are those of the median honest client lose nothing: they lie where
    the majority's centre is, and weigh more than honest rows, which lie around it. Among such rows as long as the
    clip's bound those are sought that go farthest in a direction p of harm.

    r holds f/n of these rows, and Romoa is two-sided: identical colluders would agree with r too well. So each has
    noise of its own; the less, the more honest clients agree with each other. And no measure says how the length is
    divided among tensors.

    Fields:
        aim: p; "mean" is minus the mean of the honest updates. That can hardly do more than bring training to a halt:
            where all have the same positive cosine with r, r is no worse than at right angles to all. "descent" is
            minus what the colluders' own clients come to in ``pace`` times the steps, which shows the way down without
            the noise of this round's batches; against that r may point.
        quantile: whose measures, of the honest clients in order: at 0.5 the median client's. Near 0 the honest clients
            that agree least and the colluders are a majority together, and draw its centre to themselves.
        below: by how much less than these.
    Knowledge: with "honest", the other clients' updates; with "own", its own clients' stand for these.
    Refuses: attackers that are no minority.
    Cost: some ten milliseconds, and a few passes over the rows.
    """

    aim: Literal["mean", "descent"] = "descent"
    pace: PositiveCount = 5
    quantile: Share = 0.5
    below: float = 0.0

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        _require_minority(self, n, f)

    def poison(self, data: Dataset, rng: Generator, goal: Dataset | None = None) -> Dataset:
        """Nothing but more training on what is there."""
        return data

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d)."""
        return disguised(view, self._toward(view), rng, self.quantile, self.below)

    def _toward(self, view: View) -> Tensor:
        if self.aim == "mean":
            return -view.seen.mean(dim=0)
        assert view.poisoned is not None, "the engine trains poisoned clients before it asks for their rows"
        return -view.poisoned.mean(dim=0)


@dataclass(frozen=True)
class MatchingTarget(TargetedPoisoning):
    """Be in every measure what the median honest client is, and beyond that go where a few samples are mistaken.

    As ``MatchingCosines``, with p from what honest training comes to to what training on the poisoned samples does.
    Honest clients have nothing against p but their own few samples like these; a push that is small, and the same in
    each round, adds up.

    Fields:
        quantile, below: as in ``MatchingCosines``. The others as in tpa; boost and exact mean nothing here.
    Knowledge: with "honest", the other clients' updates; with "own", its own clients' stand for these.
    Refuses: attackers that are no minority.
    """

    samples: PositiveCount = 10
    quantile: Share = 0.5
    below: float = 0.0

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        _require_minority(self, n, f)

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d)."""
        assert view.poisoned is not None, "the engine trains poisoned clients before it asks for their rows"
        return disguised(view, (view.poisoned - view.own).mean(dim=0), rng, self.quantile, self.below)


@dataclass(frozen=True)
class Drift(MatchingCosines):
    """Be trusted first, and then turn away so slowly that no step is seen.

    Half of a factor is what was seen before: a client that has been trusted for long is trusted a little longer. After
    round ``trusted`` all colluders send the same row, whose cosine with the mean honest update, in each tensor, is that
    of the median honest client less ``step`` for each round since; the rest of it, at right angles to that mean, goes
    towards harm. With a step below the temperature no round's change costs an e-th part of a weight.

    Fields:
        trusted: the last round in which all are honest.
        step: what is taken off the cosines in each round.
        depth: the most that is taken off them; None until they are -1.
    Knowledge: "honest".
    """

    needs: ClassVar[Knowledge] = "honest"
    trusted: Count = 10
    step: Positive = 0.02
    depth: Positive | None = None

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d), the same row for all."""
        sight, turned = Sight.of(view), self.step * max(0, view.round - self.trusted)
        if turned == 0 or sight.bound == 0:
            return view.own.clone()
        if self.depth is not None:
            turned = min(turned, self.depth)
        harm, row = self._toward(view).double().cpu().numpy(), np.zeros_like(sight.mean)
        for start, stop in itertools.pairwise(sight.edges.tolist()):
            part = slice(start, stop)
            row[part] = _turned(sight.honest[:, part], sight.mean[part], harm[part], turned)
        length = float(np.linalg.norm(row))
        if length == 0:
            return view.own.clone()
        return torch.from_numpy(row * (sight.sent / length)).to(view.own).expand_as(view.own).clone()


def _turned(honest: Doubles, mean: Doubles, harm: Doubles, turned: float) -> Doubles:
    """(k,) as long as honest rows (h, k), at their median's cosine with ``mean`` less ``turned``, else towards harm."""
    lengths, long = np.linalg.norm(honest, axis=1), float(np.linalg.norm(mean))
    if long == 0 or not lengths.all():
        return np.zeros_like(mean)
    axis = mean / long
    cosine = max(-1.0, float(np.median(honest @ axis / lengths)) - turned)
    aside = harm - (harm @ axis) * axis
    away = float(np.linalg.norm(aside))
    # In one dimension there is no aside.
    sideways = aside / away if away > 1e-9 * np.linalg.norm(harm) else np.zeros_like(aside)
    found: Doubles = np.sqrt((lengths**2).mean()) * (cosine * axis + np.sqrt(1 - cosine**2) * sideways)
    return found


def _require_minority(attack: object, n: int, f: int) -> None:
    if 2 * f >= n:
        raise Refused(
            f"{type(attack).__name__} refuses f = {f} attackers of n = {n}: it needs f < n/2, at most {(n - 1) // 2}"
        )
