"""The server's side of a round: which uploads count, what the rule makes of them, and what becomes of its step."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from fedsim.config import ServerSection
from fedsim.domain import (
    Aggregate,
    Aggregator,
    Drop,
    Layout,
    Memory,
    Mistake,
    Observer,
    Refused,
    ServerState,
    Updates,
    Uploads,
)
from fedsim.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Settled:
    """What became of a round's uploads.

    Fields:
        state: after the round.
        updates: what the rule saw.
        aggregate: what it made of it; None when the round was skipped.
        dropped: uploads it was not shown.
        skipped: why the round changed nothing; None when it did.
    """

    state: ServerState
    updates: Updates
    aggregate: Aggregate | None
    dropped: tuple[Drop, ...]
    skipped: str | None


def settle(
    state: ServerState,
    uploads: Uploads,
    rule: Aggregator,
    layout: Layout,
    server: ServerSection,
    root: Tensor | None = None,
    memory: Memory | None = None,
) -> Settled:
    """Sanitize, aggregate, step. A round with too few usable uploads for the rule is skipped: all stays as it was.

    ``root`` (size,) is the server's own update, where the rule wants one; ``memory`` what the rule remembers now that
    it watched the round's lookahead uploads.
    """
    updates, buffers, dropped = sanitize(uploads, layout, server)
    d = layout.weights
    updates = replace(updates, root=None if root is None else root[:d], params=state.params[:d])
    aggregate, skipped = _aggregated(updates, state.memory if memory is None else memory, rule)
    if aggregate is None:
        after = replace(state, skipped=state.skipped + 1)
    else:
        after = merge_buffers(server_step(state, aggregate, server), buffers, server)
        after = replace(after, skipped=0)
    return Settled(replace(after, round=state.round + 1), updates, aggregate, dropped, skipped)


def observe(
    memory: Memory, uploads: Uploads, params: Tensor, rule: Aggregator, layout: Layout, server: ServerSection
) -> Memory:
    """What the rule remembers after lookahead uploads from ``params`` (size,); the same where it does not watch."""
    if not isinstance(rule, Observer) or len(uploads.clients) == 0:
        return memory
    d = layout.weights
    updates = Updates(uploads.rows[:, :d], weights_of(uploads, server), uploads.clients, params=params[:d])
    try:
        return rule.observe(updates, memory)
    except Refused:
        return memory  # The round's end will say why.


def root_samples(rule: Any) -> int:
    """How many samples of the server's own a rule wants, or one inside it; 0 for most."""
    inside = [getattr(rule, field.name) for field in fields(rule)] if is_dataclass(rule) else []
    return max([getattr(rule, "root_samples", 0), *(root_samples(it) for it in inside if is_dataclass(it))])


def _aggregated(updates: Updates, memory: Memory, rule: Aggregator) -> tuple[Aggregate | None, str | None]:
    """What the rule makes of the round, or why the round is skipped."""
    if len(updates) == 0:
        return None, "no usable upload is left"
    try:
        aggregate = rule(updates, memory)
    except Refused as refusal:
        return None, str(refusal)
    if not isinstance(aggregate, Aggregate):
        raise Mistake(f"strategy: the rule returned a {type(aggregate).__name__}, not an Aggregate")
    if aggregate.step.shape != updates.deltas.shape[1:]:
        shape = tuple(aggregate.step.shape)
        raise Mistake(f"strategy: the rule's step has shape {shape}, not ({updates.deltas.shape[1]},)")
    if not _finite(aggregate.step):
        return None, "the rule's step is not finite"
    return aggregate, None


def _finite(values: Tensor) -> bool:
    """Whether all of them are. So is a sum only if its terms are, and that takes no mask; but a sum may overflow."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


def sanitize(uploads: Uploads, layout: Layout, server: ServerSection) -> tuple[Updates, Tensor, tuple[Drop, ...]]:
    """The uploads a rule may see (n, d), their buffers (n, size - d), and the dropped: not finite, or a negative claim.

    Weights are equal, or the claimed example counts up to a cap: a claim is the client's own word.
    """
    d = layout.weights
    # A sum is finite only if all its terms are, and costs no (n, d) mask; a finite row whose sum overflows is caught
    # below.
    finite = torch.isfinite(uploads.rows.sum(dim=1)).cpu()
    for row in (~finite).nonzero().flatten().tolist():
        finite[row] = torch.isfinite(uploads.rows[row]).all()
    honest = uploads.examples >= 0 if server.weighting == "examples" else torch.ones_like(finite)
    usable = finite & honest
    kept = uploads if bool(usable.all()) else _only(uploads, usable)
    dropped = tuple(
        Drop(client, "malformed" if good else "non-finite")
        for client, good in zip(uploads.clients[~usable].tolist(), finite[~usable].tolist(), strict=True)
    )
    return Updates(kept.rows[:, :d], weights_of(kept, server), kept.clients), kept.rows[:, d:], dropped


def weights_of(uploads: Uploads, server: ServerSection) -> Tensor:
    """(n,) each upload's say in rules that weigh them."""
    if server.weighting == "equal":
        return torch.ones(len(uploads.clients), device=uploads.rows.device)
    claimed = uploads.examples if server.weight_cap is None else uploads.examples.clamp(max=server.weight_cap)
    return claimed.float().to(uploads.rows.device)


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
