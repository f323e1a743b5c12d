"""What carriers bring back, what the server keeps, and what is written down of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from fedsim.domain.rules import Memory

Measure = float | list[float] | list[dict[str, float]]
"""A figure of a round: a number, or one for each class or client."""


@dataclass(frozen=True)
class Drop:
    """An upload that did not reach the rule, and why."""

    client: int
    reason: Literal["non-finite", "wrong shape", "absent", "malformed"]


@dataclass(frozen=True)
class Uploads:
    """What a carrier brings back: the rows that could be read, and the clients whose could not.

    Fields:
        rows: (n, size) float32, w_client - w_server, weights first, then buffers.
        examples: (n,) int64, samples each client says it holds.
        losses: (n,) float32, each client's mean training loss.
        clients: (n,) int64, ascending.
        lookahead: rows (n, size) of the same clients at earlier local steps, in order; for rules that watch.
    """

    rows: Tensor
    examples: Tensor
    losses: Tensor
    clients: Tensor
    dropped: tuple[Drop, ...] = ()
    lookahead: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class ServerState:
    """The whole checkpoint of a run.

    Fields:
        round: rounds played.
        params: (size,) the global model, weights first, then buffers.
        memory: the rule's.
        momentum: (d,) the server optimiser's velocity.
        skipped: rounds skipped in a row until now.
        kept: (clients, size) what each client last trained its model to; None where clients take over the server's.
    """

    round: int
    params: Tensor
    memory: Memory
    momentum: Tensor
    skipped: int = 0
    kept: Tensor | None = None


@dataclass(frozen=True)
class Round:
    """What is written down about one round.

    Fields:
        clients, attackers: ids of those chosen, and of those among them that are malicious.
        struck: whether these uploaded crafted rows.
        skipped: why the round changed nothing; None when it did.
        measures: the figures of attack, rule and evaluation, by name; see ``fedsim.results.keys``.
        figures: what the rule saw of each client, in rounds with a test, by name; see ``Aggregate``.
        shown: whose these are, in order.
    """

    number: int
    clients: tuple[int, ...]
    attackers: tuple[int, ...]
    struck: bool
    dropped: tuple[Drop, ...]
    skipped: str | None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    figures: Memory = field(default_factory=dict)
    shown: tuple[int, ...] = ()
