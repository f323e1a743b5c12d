"""What must come out of the tables: each bar, the figure, and whether it holds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.romoa.cells import Found
from experiments.romoa.suites import CANCELLING, CLEAN, IID, LATE, NOT_FINITE, ONE_LABEL, TPA, UPA, Cell

Done = Mapping[Cell, Found]


@dataclass(frozen=True)
class Bar:
    """A figure with its bound, the worst over seeds.

    Fields:
        figure: None where cells are missing.
        least: whether ``bound`` is the least that must come out, as for controls that must fail; else the most.
    """

    what: str
    figure: float | None
    bound: float
    least: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the figure is within the bound; None where there is none."""
        if self.figure is None:
            return None
        return self.figure >= self.bound if self.least else self.figure <= self.bound


def bars(done: Done) -> Iterator[Bar]:
    """All bars for digits."""
    yield Bar("romoa, clean: error", worst(done, "romoa", 0, [CLEAN]), 0.08)
    yield Bar("romoa, clean: error above the mean's", _above_mean(done), 0.03)
    for f in (1, 3, 4):
        yield Bar(f"romoa, UPA by {f} of 10: error", worst(done, "romoa", f, UPA), 0.10)
        yield Bar(f"romoa, TPA by {f} of 10: confidence", worst(done, "romoa", f, TPA), 0.05)
        yield Bar(f"romoa, late UPA by {f} of 10: error", worst(done, "romoa", f, [*LATE][:1]), 0.10)
        yield Bar(f"romoa, late TPA by {f} of 10: confidence", worst(done, "romoa", f, [*LATE][1:]), 0.05)
        yield Bar(f"romoa, cancelling by {f} of 10: error", worst(done, "romoa", f, [CANCELLING]), 0.10)
    yield Bar("romoa, not finite from 4 of 10: error", worst(done, "romoa", 4, [NOT_FINITE]), 0.10)
    yield Bar("romoa, UPA by 9 of 20: error", worst(done, "romoa", 9, UPA, 20), 0.10)
    yield Bar("romoa, TPA by 9 of 20: confidence", worst(done, "romoa", 9, TPA, 20), 0.05)
    yield Bar("romoa, one label each, clean: error", worst(done, "romoa", 0, [CLEAN], 10, ONE_LABEL), 0.32)
    yield Bar(
        "romoa, one label each, opposite 10: error", worst(done, "romoa", 1, ["opposite 10"], 10, ONE_LABEL), 0.40
    )
    yield Bar("romoa, one label each, boost 10: confidence", worst(done, "romoa", 1, ["boost 10"], 10, ONE_LABEL), 0.10)
    for f in (1, 3, 4):
        yield Bar(f"mean fails, UPA by {f} of 10: error", mildest(done, "mean", f, UPA), 0.8, True)
        yield Bar(f"mean fails, TPA by {f} of 10: confidence", mildest(done, "mean", f, TPA), 0.8, True)
    yield Bar("literal reading fails, UPA by 4 of 10: error", mildest(done, "romoa literal", 4, UPA), 0.8, True)
    yield Bar("literal reading fails, TPA by 4 of 10: confidence", mildest(done, "romoa literal", 4, TPA), 0.8, True)
    yield Bar("rfa breaks, TPA by 4 of 10: confidence", mildest(done, "rfa", 4, TPA), 0.5, True)
    yield Bar("krum breaks, UPA by 4 of 10: error", mildest(done, "krum", 4, UPA), 0.7, True)


def by_seed(
    done: Done, rule: str, attackers: int, suite: Iterable[str], clients: int = 10, setting: str = IID
) -> list[float] | None:
    """For each seed the worst over a suite: the confidence in a target, else the error rate; None of no cells."""
    found: dict[int, float] = {}
    for attack in suite:
        for cell, what in done.items():
            if (cell.setting, cell.clients, cell.attackers, cell.rule, cell.attack) != (
                setting,
                clients,
                attackers,
                rule,
                attack,
            ):
                continue
            figure = what.error_rate if what.target_confidence is None else what.target_confidence
            found[cell.seed] = max(figure, found.get(cell.seed, -math.inf))
    return [found[seed] for seed in sorted(found)] or None


def worst(
    done: Done, rule: str, attackers: int, suite: Iterable[str], clients: int = 10, setting: str = IID
) -> float | None:
    """Over all seeds."""
    found = by_seed(done, rule, attackers, suite, clients, setting)
    return None if found is None else max(found)


def mildest(done: Done, rule: str, attackers: int, suite: Iterable[str]) -> float | None:
    """The seed that fares best, each under the worst of the suite: what must fail fails for this one, too."""
    found = by_seed(done, rule, attackers, suite)
    return None if found is None else min(found)


def _above_mean(done: Done) -> float | None:
    ours, plain = (by_seed(done, rule, 0, [CLEAN]) for rule in ("romoa", "mean"))
    return None if ours is None or plain is None else max(a - b for a, b in zip(ours, plain, strict=False))


def judged(found: Sequence[Bar]) -> str:
    """The bars as lines of text."""
    words = {True: "holds", False: "DOES NOT HOLD", None: "not played"}
    width = max(len(bar.what) for bar in found)
    return "\n".join(
        f"{bar.what:<{width}}  {'-' if bar.figure is None else f'{bar.figure:.3f}':>6}  "
        f"{'>=' if bar.least else '<='} {bar.bound:<5g} {words[bar.holds]}"
        for bar in found
    )
