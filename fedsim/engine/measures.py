"""The figures written down about a round; what each means stands in ``fedsim.results.keys``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedsim.domain import Aggregate, Layout, Measure, Updates, Uploads
from fedsim.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def measure(
    layout: Layout,
    honest: Uploads,
    sent: Uploads,
    updates: Updates,
    attackers: tuple[int, ...],
    struck: bool,
    aggregate: Aggregate | None,
    tested: Mapping[str, Measure],
) -> dict[str, Measure]:
    """The round's figures by name; one that has no meaning in this round is absent."""
    d = layout.weights
    own = _among(honest.clients, attackers)
    others = ~own
    found: dict[str, Measure] = dict(tested)
    if bool(others.any()):
        found["train_loss"] = float(honest.losses[others].nanmean())
        found["honest_norm"] = float(_lengths(honest.rows[:, :d])[others].mean())
        if struck:
            forged = sent.rows[_among(sent.clients, attackers), :d]
            lengths = _lengths(forged)
            found["forged_norm"] = float(lengths.mean())
            found["forged_cosine"] = float(_cosines(forged, lengths, _mean(honest.rows[:, :d], others)).mean())
    if aggregate is not None:
        found["step_norm"] = float(torch.linalg.vector_norm(aggregate.step.double()))
        if aggregate.shares is not None:
            found |= _judgement(updates, aggregate.shares.cpu(), attackers, struck)
    return found


def _judgement(updates: Updates, shares: Tensor, attackers: tuple[int, ...], struck: bool) -> dict[str, Measure]:
    """What the rule made of each client, and how well that told the attackers from the others."""
    pairs = zip(updates.clients.tolist(), shares.tolist(), strict=True)
    found: dict[str, Measure] = {"shares": [{"client": client, "share": share} for client, share in pairs]}
    malicious = _among(updates.clients, attackers)
    if attackers:
        found["attackers_share"] = float(shares[malicious].sum())
    if struck and bool(malicious.any()):
        rejected = shares < 0.5 / len(shares)
        caught = float((rejected & malicious).sum())
        found["detection_recall"] = caught / float(malicious.sum())
        if bool(rejected.any()):
            found["detection_precision"] = caught / float(rejected.sum())
    return found


def _lengths(rows: Tensor) -> Tensor:
    """(n,) float64 lengths of rows (n, d)."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1).double().cpu()
    if not bool(lengths.isfinite().all()):
        # The square of a large float32 overflows.
        lengths = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).cpu()
    return lengths


def _cosines(rows: Tensor, lengths: Tensor, mean: Tensor) -> Tensor:
    """(n,) float64 cosines of rows (n, d) of these lengths (n,) with a mean (d,); 0 of what has no length."""
    products = rows @ mean
    if not bool(products.isfinite().all()):
        # Products of large float32 overflow, though nothing of a cosine is large.
        products = rows.double() @ mean.double()
    together = lengths * torch.linalg.vector_norm(mean, dtype=torch.float64).cpu()
    return torch.where(together > 0, products.double().cpu() / together.clamp(min=1e-300), 0.0)


def _mean(rows: Tensor, chosen: Tensor) -> Tensor:
    """(d,) the mean of the chosen rows; as a product with shares, which copies none, unless another is not finite."""
    mean = (chosen.to(rows) / chosen.sum()) @ rows
    return mean if bool(mean.isfinite().all()) else rows[chosen].mean(dim=0)


def _among(clients: Tensor, chosen: tuple[int, ...]) -> Tensor:
    return torch.isin(clients, torch.tensor(chosen, dtype=torch.int64))
