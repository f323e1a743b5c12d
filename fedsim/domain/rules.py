"""What an aggregation rule is handed, what it returns, and what it must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from fedsim.domain.basics import Layout

Memory = Mapping[str, "Tensor"]
"""What a rule remembers between rounds, by name; empty for most."""


@dataclass(frozen=True)
class Updates:
    """One round's uploads.

    Fields:
        deltas: (n, d) float32, w_client - w_server.
        weights: (n,) float32, each row's say in rules that weigh rows.
        clients: (n,) int64, the client ids, ascending.
        root: (d,) the update that clean samples of the server's own give; None without any.
        params: (d,) the weights that all of them were asked to start from; None where nobody says.
    """

    deltas: Tensor
    weights: Tensor
    clients: Tensor
    root: Tensor | None = None
    params: Tensor | None = None

    def __len__(self) -> int:
        return len(self.clients)


class Aggregate(NamedTuple):
    """What a rule returns.

    Fields:
        step: (d,) the direction in which the server moves.
        memory: what the rule wants to be handed next round.
        shares: (n,) each client's share of the step, where the rule has one number a client; None where it
            works entry by entry.
        figures: what the rule saw of each client on its way, by name, each (steps, n), (steps, n, tensors) or (steps,
            n, tensors, parts); nan where it saw nothing; empty for most rules.
    """

    step: Tensor
    memory: Memory = MappingProxyType({})
    shares: Tensor | None = None
    figures: Memory = MappingProxyType({})


@runtime_checkable
class Aggregator(Protocol):
    """An aggregation rule: hyperparameters and a pure call."""

    def require(self, n: int) -> None:
        """Raise ``Refused`` if the rule promises nothing for ``n`` uploads."""
        ...

    def init(self, layout: Layout) -> Memory:
        """The memory before the first round."""
        ...

    def __call__(self, updates: Updates, memory: Memory) -> Aggregate:
        """Aggregate one round; calls ``require(len(updates))`` first and leaves its inputs untouched."""
        ...


@runtime_checkable
class Observer(Protocol):
    """A rule that also watches what clients upload between the rounds' ends."""

    def observe(self, updates: Updates, memory: Memory) -> Memory:
        """The memory after a lookahead upload, which moves nothing; rows in it may hold what is not finite."""
        ...
