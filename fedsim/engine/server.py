"""The server's side of a round, beside the rule: which uploads count, and what becomes of the rule's step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedsim.config import ServerSection
from fedsim.domain import Aggregate, Drop, Layout, ServerState, Updates, Uploads
from fedsim.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def sanitize(
    uploads: Uploads, layout: Layout, server: ServerSection
) -> tuple[Updates, Tensor, tuple[Drop, ...]]:
    """The uploads a rule may see (n, d), their buffers (n, size - d), and those dropped for a value that is not finite.

    Weights are equal, or the claimed example counts up to a cap: a claim is the client's own word.
    """
    d = layout.weights
    # A sum is finite only if all its terms are, and costs no (n, d) mask; a finite row whose sum overflows is caught below.
    finite = torch.isfinite(uploads.rows.sum(dim=1)).cpu()
    for row in (~finite).nonzero().flatten().tolist():
        finite[row] = torch.isfinite(uploads.rows[row]).all()
    kept = uploads if bool(finite.all()) else _only(uploads, finite)
    dropped = tuple(Drop(client, "non-finite") for client in uploads.clients[~finite].tolist())
    weights = torch.ones(len(kept.clients))
    if server.weighting == "examples":
        claimed = kept.examples if server.weight_cap is None else kept.examples.clamp(max=server.weight_cap)
        weights = claimed.float()
    weights = weights.to(kept.rows.device)
    return Updates(kept.rows[:, :d], weights, kept.clients), kept.rows[:, d:], dropped


def server_step(state: ServerState, aggregate: Aggregate, server: ServerSection) -> ServerState:
    """Velocity = momentum * velocity + step; params += learning_rate * velocity."""
    d = len(aggregate.step)
    velocity = state.momentum * server.momentum + aggregate.step if server.momentum else aggregate.step
    params = state.params.clone()
    params[:d] += server.learning_rate * velocity
    return replace(state, params=params, memory=aggregate.memory, momentum=velocity)


def merge_buffers(state: ServerState, changes: Tensor, server: ServerSection) -> ServerState:
    """The state with BatchNorm statistics moved by their entry-wise median or mean change (n, size - d), or kept."""
    if changes.shape[1] == 0 or server.buffers == "keep":
        return state
    move = changes.mean(dim=0) if server.buffers == "mean" else changes.quantile(0.5, dim=0)
    params = state.params.clone()
    params[-len(move) :] += move
    return replace(state, params=params)


def _only(uploads: Uploads, kept: Tensor) -> Uploads:
    return replace(
        uploads,
        rows=uploads.rows[kept],
        examples=uploads.examples[kept],
        losses=uploads.losses[kept],
        clients=uploads.clients[kept],
    )
