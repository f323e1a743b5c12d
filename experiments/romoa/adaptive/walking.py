"""From rows that look honest as far towards harm as leaves every measure where it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.romoa.adaptive.plane import TOWARD

if TYPE_CHECKING:
    from experiments.romoa.adaptive.plane import Doubles, Plane

CLOSE, ENOUGH = 5e-5, 0.01
"""How near measures are to come to where they are to be; and what will do, a tenth of Romoa's temperature."""
NUDGE = 1e-6
"""For slopes, in parts of an honest row's length."""
ALIKE = 1e-10
"""What keeps slopes that are the same apart, in parts of their squares."""
STARTS, FIRST, STEPS, LATER = 4, 8, 8, 4
"""Places to begin at, Newton steps from there to the level, steps on it, and Newton steps after each."""


@dataclass(frozen=True)
class Place:
    """Where a walk has come: coefficients (v,), how far off the worst measure is, and the slopes (c, v) of all."""

    values: Doubles
    off: float
    slopes: Doubles
    inverse: Doubles


@dataclass(frozen=True)
class Walk:
    """Over the coefficients of a plane's rows, v of which make a difference, where c measures are as they are wanted.

    Fields:
        length: that the rows are to have.
        quantile: of the honest clients' measures, of each the colluders' own.
        below: how far below that theirs are to be.
    """

    plane: Plane
    length: float
    quantile: float = 0.5
    below: float = 0.0

    def farthest(self) -> Doubles | None:
        """(B, 5) coefficients of the most harm that was found; None where the level was not reached.

        From rows on the way between honest ones and pure harm, Newton's method goes to the level; from the best of
        these a walk goes uphill on it. Where it ends is high up a hill, which need not be the highest.
        """
        push = self._packed(self.plane.push)
        height = float(np.linalg.norm(push))
        honest, harm = self._packed(self.plane.start), np.zeros_like(self.plane.start)
        harm[:, TOWARD] = self.plane.harm
        wanted = self._packed(harm)
        if height == 0 or not wanted.any():
            return None
        # As long as they are to be, which most of what follows is in tune with.
        honest *= self.length / float(self.plane.measures(self.plane.start)[1])
        wanted *= np.linalg.norm(honest) / np.linalg.norm(wanted)
        turns = np.linspace(0, math.pi / 2, STARTS)[:, None]
        places = self._level(np.cos(turns) * honest + np.sin(turns) * wanted, FIRST)
        # Where the median changes hands, steps may go to and fro beside the level.
        limit = max(CLOSE, min(it.off for it in places))
        if limit > ENOUGH:
            return None
        best = max((it for it in places if it.off <= limit), key=lambda it: float(push @ it.values))
        return self._unpacked(self._uphill(best, push / height).values)

    def near(self, coefficients: Doubles) -> Doubles | None:
        """(B, 5) the level's coefficients near these; None where it was not reached."""
        (found,) = self._level(self._packed(coefficients)[None], 2 * FIRST)
        return self._unpacked(found.values) if found.off <= ENOUGH else None

    def _uphill(self, place: Place, push: Doubles) -> Place:
        """The place to which steps along the level lead."""
        reach, limit = 0.5, max(CLOSE, place.off)
        for _ in range(STEPS):
            way = push - place.slopes.T @ (place.inverse.T @ push)
            slope = float(np.linalg.norm(way))
            if slope < 1e-3 or reach < 1e-2:
                break
            (tried,) = self._level((place.values + reach / slope * way)[None], LATER)
            if tried.off <= limit and push @ tried.values > push @ place.values:
                place, reach = tried, 1.5 * reach
            else:
                reach *= 0.4
        return place

    def _level(self, values: Doubles, steps: int) -> list[Place]:
        """Where Newton's least steps lead, from each of values (k, v)."""
        unit = NUDGE * np.eye(values.shape[1])
        for step in range(steps + 1):
            found = self._off(np.concatenate([values[:, None], values[:, None] + unit], axis=1))
            off, slopes = found[:, 0], np.swapaxes(found[:, 1:] - found[:, :1], 1, 2) / NUDGE
            inverse, worst = _inverse(slopes), np.abs(off).max(axis=1)
            if step == steps or worst.max() < CLOSE:
                break
            move = (inverse @ off[..., None])[..., 0]
            # No farther than it can be trusted.
            values = values - move * np.minimum(1, 0.5 / np.linalg.norm(move, axis=1, keepdims=True).clip(min=1e-9))
        return [Place(*its) for its in zip(values, worst.tolist(), slopes, inverse, strict=True)]

    def _off(self, values: Doubles) -> Doubles:
        """(..., c) how far the measures, and the logarithm of the length, are from where they are to be."""
        seen, length = self.plane.measures(self._unpacked(values))
        level = np.sort(seen[..., :-1], axis=-1) @ self._ranks(seen.shape[-1] - 1)
        return np.concatenate([seen[..., -1] - level + self.below, np.log(length / self.length)[..., None]], axis=-1)

    def _ranks(self, h: int) -> Doubles:
        """(h,) the weights of values in order that make up their quantile."""
        found: Doubles = (1 - np.abs(np.arange(h) - self.quantile * (h - 1))).clip(min=0)
        return found

    def _packed(self, coefficients: Doubles) -> Doubles:
        return coefficients[self.plane.usable]

    def _unpacked(self, values: Doubles) -> Doubles:
        found = np.zeros((*values.shape[:-1], *self.plane.usable.shape))
        found[..., self.plane.usable] = values
        return found


def _inverse(slopes: Doubles) -> Doubles:
    """(k, v, c) with which slopes (k, c, v) are the identity, all but: some of the c may be the same."""
    across = np.swapaxes(slopes, 1, 2)
    products = slopes @ across
    size = np.trace(products, axis1=1, axis2=2)[:, None, None]
    found: Doubles = across @ np.linalg.inv(products + ALIKE * (size + 1) * np.eye(slopes.shape[1]))
    return found
