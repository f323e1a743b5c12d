"""What Romoa would measure of colluding rows, reckoned in the few directions that they are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Doubles = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.int64]

MEAN, TOWARD, ONES, TOGETHER, APART = range(5)
SMALL = 0.2
"""How long rows are, at first, where all are the same."""
"""What a row is made of in each block: honest mean, direction of harm, ones, and noise in common or of its own."""


@dataclass(frozen=True)
class Plane:
    """Rows of f colluders, by coefficients in each of B = 2 L blocks: a tensor's selected entries, and its others.

        x_j = a v_0 + b v_1 + c v_2 + t v_3 + s e_j

    v_0 is along the honest mean, v_1 along the direction of harm, v_2 along ones; e_j, the j-th colluder's noise, is
    orthogonal to these and to the others' noise, and v_3 is along the sum of all e_j: so all colluders measure the
    same. All are as long as honest updates are in the block. Where there are too few entries for that all noise is in
    common, and where there are less still there is none.

    Fields:
        blocks: (d,) the block of each entry: 2 l and 2 l + 1 of tensor l.
        directions: (4, d) v.
        noise: (f, d) e.
        scale: (B,) the length of each v and e.
        usable: (B, 5) which coefficients make a difference.
        inner, sums: (B, 4, 4) products of each v with each, and (B, 4) the sum of its entries.
        products: (B, h, 4) of honest rows with each v.
        moments: (2, h, B) the sums of honest rows' squares, and of their entries.
        sizes: (B,) entries of each block.
        crowd, mean: (B,) how much of v_0 is in the sum of all honest rows as they are clipped, and in their mean.
        harm: (B,) how much of v_1 is in the direction of harm.
    """

    blocks: Places
    directions: Doubles
    noise: Doubles
    scale: Doubles
    usable: Flags
    inner: Doubles
    sums: Doubles
    products: Doubles
    moments: Doubles
    sizes: Doubles
    crowd: Doubles
    mean: Doubles
    harm: Doubles

    @classmethod
    def of(
        cls,
        honest: Doubles,
        mean: Doubles,
        others: int,
        toward: Doubles,
        colluders: int,
        selected: Flags,
        edges: Places,
        rng: Generator,
    ) -> Plane:
        """Of honest rows (h, d), the mean of those as they are clipped (d,), and the direction of harm (d,).

        Fields:
            others: how many honest clients there are, h of whom are seen.
            selected: (d,) which entries count for the similarity.
            edges: (L + 1,) where tensors begin, and where the last one ends.
        """
        tensors = len(edges) - 1
        blocks = 2 * np.repeat(np.arange(tensors), np.diff(edges)) + ~selected
        parts = [np.flatnonzero(blocks == block) for block in range(2 * tensors)]
        scale = np.sqrt(_totals(honest**2, parts).mean(axis=0))
        fixed = np.stack([mean, toward, np.ones_like(mean)])
        noise, together = _noise(colluders, fixed, parts, rng)
        raw = np.concatenate([fixed, together])
        lengths = np.sqrt(_totals(raw**2, parts))
        units = np.divide(lengths, scale, out=np.zeros_like(lengths), where=scale > 0)
        directions = np.divide(raw, units[:, blocks], out=np.zeros_like(raw), where=units[:, blocks] > 0)
        apart = _totals(noise[:1] ** 2, parts) * scale
        usable = np.concatenate([units, apart]).T > 0
        return cls(
            blocks=blocks,
            directions=directions,
            noise=noise * scale[blocks],
            scale=scale,
            usable=usable,
            inner=np.moveaxis(_totals(directions[:, None] * directions, parts), -1, 0),
            sums=_totals(directions, parts).T,
            products=np.moveaxis(_totals(honest[:, None] * directions, parts), -1, 0),
            moments=np.stack([_totals(honest**2, parts), _totals(honest, parts)]),
            sizes=np.array([len(part) for part in parts], dtype=np.float64),
            crowd=others * units[MEAN],
            mean=units[MEAN],
            harm=units[TOWARD],
        )

    @property
    def start(self) -> Doubles:
        """(B, 5) the coefficients of rows that look honest: their mean, and as much noise as is usual around it."""
        share, varied = self.mean.clip(max=1), self.usable[:, APART]
        found = np.zeros(self.usable.shape)
        found[:, MEAN], found[:, APART] = share, np.sqrt(1 - share**2)
        # Where all colluders are the same they measure what honest clients do if they hardly move the mean.
        found[~varied, MEAN] *= SMALL
        found[~varied, TOGETHER] = SMALL * found[~varied, APART]
        return found * self.usable

    @property
    def push(self) -> Doubles:
        """(B, 5) what each coefficient adds to the product with the direction of harm."""
        found = np.zeros(self.usable.shape)
        found[:, :APART] = self.inner[:, TOWARD] * self.harm[:, None]
        return found * self.usable

    def rows(self, coefficients: Doubles) -> Doubles:
        """(f, d) the rows that coefficients (B, 5) make."""
        each = coefficients[self.blocks].T
        found: Doubles = (each[:APART] * self.directions).sum(axis=0) + each[APART] * self.noise
        return found

    def measures(self, coefficients: Doubles) -> tuple[Doubles, Doubles]:
        """From coefficients (..., B, 5) the measures (..., 1 + 2 L, h + 1) of the honest and, last, of any colluder.

        The similarity, then each tensor's cosine, then each tensor's correlation. And the colluders' length (...).
        """
        f, h = len(self.noise), self.products.shape[1]
        shared, own = coefficients[..., :APART], coefficients[..., APART]
        reference = f * shared
        reference[..., MEAN] += self.crowd
        reference[..., TOGETHER] += math.sqrt(f) * own
        overlap = own * self.scale**2 / math.sqrt(f)
        weighed = (self.inner @ reference[..., None])[..., 0]
        mine = (self.inner @ shared[..., None])[..., 0]
        # Products with the reference, squares and sums; of honest rows, a colluder's row and the reference itself.
        table = np.empty((3, *coefficients.shape[:-2], h + 2, len(self.scale)))
        table[0, ..., :h, :] = np.swapaxes((self.products @ reference[..., None])[..., 0], -1, -2)
        table[1, ..., :h, :], table[2, ..., :h, :] = self.moments
        table[0, ..., h, :] = (shared * weighed).sum(-1) + reference[..., TOGETHER] * overlap
        table[1, ..., h, :] = (shared * mine).sum(-1) + 2 * shared[..., TOGETHER] * overlap + (own * self.scale) ** 2
        table[2, ..., h, :] = (shared * self.sums).sum(-1)
        table[:2, ..., h + 1, :] = (reference * weighed).sum(-1)
        table[2, ..., h + 1, :] = (reference * self.sums).sum(-1)
        chosen, whole = table[..., ::2].sum(-1, keepdims=True), table[..., ::2] + table[..., 1::2]
        found = [_cosines(*chosen[:2]), _cosines(*whole[:2]), _cosines(*self._centred(whole))]
        return np.swapaxes(np.concatenate(found, axis=-1), -1, -2), np.sqrt(table[1, ..., h, :].sum(-1))

    def _centred(self, whole: Doubles) -> tuple[Doubles, Doubles]:
        """Products and squares without the rows' means, from sums by tensor (3, ..., h + 2, L)."""
        products, squares, sums = whole
        sizes = self.sizes[::2] + self.sizes[1::2]
        return products - sums * sums[..., -1:, :] / sizes, squares - sums**2 / sizes


def _totals(values: Doubles, parts: list[Places]) -> Doubles:
    """(..., B) sums of values (..., d) over parts."""
    return np.stack([values[..., part].sum(axis=-1) for part in parts], axis=-1)


def _noise(colluders: int, fixed: Doubles, parts: list[Places], rng: Generator) -> tuple[Doubles, Doubles]:
    """(f, d) unit rows, in each part orthogonal to each other and to fixed ones (k, d), and (1, d) what they share."""
    noise, together = np.zeros((colluders, fixed.shape[1])), np.zeros((1, fixed.shape[1]))
    for part in parts:
        if len(part) <= len(fixed):
            continue
        own = colluders if len(part) > len(fixed) + colluders else 1
        found = _orthonormal(rng.normal(size=(own, len(part))), fixed[:, part])
        together[:, part] = found.sum(axis=0)
        if own == colluders:
            noise[:, part] = found
    return noise, together


def _cosines(products: Doubles, squares: Doubles) -> Doubles:
    """(..., h + 1, k) of rows with the last one, from (..., h + 2, k); 0 where one has no length."""
    lengths = np.sqrt(np.maximum(squares[..., :-1, :] * squares[..., -1:, :], 0))
    found: Doubles = products[..., :-1, :] / np.where(lengths > 0, lengths, np.inf)
    return found


def _orthonormal(rows: Doubles, others: Doubles) -> Doubles:
    """(f, k) orthonormal rows in the span of these (f, k) and others (o, k), orthogonal to the others; f + o < k."""
    left, values, _ = np.linalg.svd(others.T, full_matrices=False)
    basis = left[:, values > 1e-9 * values.max()]
    one, _, other = np.linalg.svd(rows - (rows @ basis) @ basis.T, full_matrices=False)
    found: Doubles = one @ other
    return found
