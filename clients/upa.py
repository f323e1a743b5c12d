"""Untargeted poisoning against federated averaging and its robust kin, in the forms that the Romoa paper tries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clients.alie import ALittleIsEnough
from clients.base import Malicious
from clients.fang import KRUM_LIKE, Fang
from fedsim.domain import Count, Knowledge, Mistake, Positive, Refused

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from fedsim.domain import View

ORDER_STATISTICS = ("Median", "TrimmedMean")


@dataclass(frozen=True)
class UntargetedPoisoning(Malicious):
    """Maximise s^T (theta - theta_adv): lead the model against the direction s in which honest clients move it.

    With mu the mean honest update and nu the median honest norm, every attacker uploads, by ``form``:

        opposite: -scale mu;     sign: -scale nu s / sqrt d, s = sign mu;
        fang, krum: Fang's attack on trimmed mean and on Krum;     alie: a little is enough

    Fields:
        form: auto is krum where the server's rule is seen to pick by distances, fang where it is seen to sort entries,
            else opposite.
        scale: lambda; the problem as printed has no largest solution under averaging. Of opposite and sign only.
        against: another way to choose the form, by the rule that is feared; in place of ``form``.
        feared: of the form krum, as Fang's.
    Knowledge: with "honest", the other clients' updates; with "own", its own clients'.
    Refuses: what the chosen form refuses; attackers that are no minority (f >= n/2), which the paper excludes.
    Cost: O(h d); of krum O(n^2 d).
    Source: Mao et al., Romoa, Eq. 2.
    """

    form: Literal["auto", "opposite", "sign", "fang", "krum", "alie"] = "auto"
    scale: Positive = 3.0
    against: Literal["mean", "median", "trimmed_mean", "krum", "multi_krum", "bulyan"] | None = None
    feared: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.against is not None and self.form != "auto":
            raise Mistake("upa: set form or against, not both")

    def require(self, n: int, f: int, knowledge: Knowledge) -> None:
        """See Refuses; ``n`` and ``f`` of one round."""
        if 2 * f >= n:
            raise Refused(f"upa refuses f = {f} attackers of n = {n}: it needs f < n/2, at most {(n - 1) // 2}")
        other = self._other(self._named())
        if other is not None:
            other.require(n, f, knowledge)

    def remark(self, n: int, f: int) -> list[str]:
        """What to know of the form alie where it is no attack."""
        z = ALittleIsEnough().deviations(n, f) if self.form == "alie" else 1.0
        if z > 0:
            return []
        return [f"upa's form alie has z = {z:.2f} at n = {n}, f = {f}: it does not push away from the honest mean"]

    def __call__(self, view: View, rng: Generator) -> Tensor:
        """(f, d)."""
        form = self._named()
        if form == "auto":
            rule = type(view.rule).__name__
            form = "krum" if rule in KRUM_LIKE else "fang" if rule in ORDER_STATISTICS else "opposite"
        other = self._other(form)
        if other is not None:
            return other(view, rng)
        mean = view.seen.mean(dim=0)
        if form == "opposite":
            return (-self.scale * mean).expand_as(view.own).clone()
        length = view.seen.norm(dim=1).quantile(0.5)
        row: Tensor = -self.scale * length / math.sqrt(len(mean)) * mean.sign()
        return row.expand_as(view.own).clone()

    def _named(self) -> str:
        if self.against is None:
            return self.form
        by_rule = {"mean": "opposite", "median": "fang", "trimmed_mean": "fang"}
        return by_rule.get(self.against, "krum")

    def _other(self, form: str) -> Fang | ALittleIsEnough | None:
        """The attack of another paper that a form stands for."""
        if form == "alie":
            return ALittleIsEnough()
        return {"fang": Fang(against="trimmed_mean"), "krum": Fang(against="krum", feared=self.feared)}.get(form)
