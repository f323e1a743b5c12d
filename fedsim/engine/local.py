"""The local carrier: trains all chosen clients in this process, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.config import TrainingSection
from fedsim.domain import Dataset, Uploads
from fedsim.lazy import torch
from fedsim.training import train_client
from fedsim.vectors import FlatModule

if TYPE_CHECKING:
    from torch import Tensor

    from fedsim.objectives.objective import Objective


@dataclass(frozen=True)
class LocalCarrier:
    """Clients of this process.

    Fields:
        model: scratch space that every client trains in.
        shards: each client's samples, by client id.
        poisoned: what malicious clients train on instead, by client id; empty when the attack poisons none.
    """

    model: FlatModule
    shards: Sequence[Dataset]
    poisoned: Mapping[int, Dataset]
    objective: Objective
    training: TrainingSection
    seed: int

    def train(self, clients: Sequence[int], params: Tensor, round: int, poisoned: bool = False) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked."""
        rows = torch.empty(len(clients), self.model.layout.size, device=params.device)
        losses = torch.empty(len(clients))
        for place, client in enumerate(clients):
            data = self.poisoned[client] if poisoned else self.shards[client]
            rows[place], losses[place] = train_client(
                self.model,
                params,
                data,
                self.objective,
                self.training,
                self.seed,
                *("round", round, "client", client),
            )
        return Uploads(
            rows=rows,
            examples=torch.tensor([len(self.shards[client]) for client in clients]),
            losses=losses,
            clients=torch.tensor(clients, dtype=torch.int64),
        )
