"""The local carrier: trains all chosen clients in this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedsim.config import TrainingSection
from fedsim.domain import Shards, Uploads
from fedsim.lazy import torch
from fedsim.training import lookaheads, paced, train_client
from fedsim.vectors import FlatModule, Reused

if TYPE_CHECKING:
    from torch import Tensor

    from fedsim.engine.stacking import SideBySide
    from fedsim.objectives.objective import Objective


@dataclass(frozen=True)
class LocalCarrier:
    """Clients of this process.

    Fields:
        model: scratch space that every client trains in.
        shards: the clients' samples.
        poisoned: what malicious clients train on instead; None when the attack poisons none.
        pace: steps of such training for each of an honest client's.
        side_by_side: trains the clients of a round together; None to train them one after the other, as is one alone.
    """

    model: FlatModule
    shards: Shards
    poisoned: Shards | None
    objective: Objective
    training: TrainingSection
    seed: int
    side_by_side: SideBySide | None = None
    pace: int = 1
    _rows: dict[tuple[bool, int], Reused] = field(default_factory=lambda: defaultdict(Reused))

    def train(
        self,
        clients: Sequence[int],
        params: Tensor,
        round: int,
        poisoned: bool = False,
        starts: Tensor | None = None,
    ) -> Uploads:
        """The work of ``clients`` (ascending ids) from ``params`` (size,), on their poisoned samples if asked.

        From ``starts`` (n, size), if given; the uploads are measured from ``params`` all the same.
        """
        shards, training, together = self.shards, self.training, self.side_by_side
        if poisoned and self.poisoned is not None:
            shards, training = self.poisoned, paced(self.training, self.pace)
            together = None if together is None else replace(together, training=training)
        rows, *watched = (
            self._rows[poisoned, number].empty(len(clients), self.model.layout.size, params.device)
            for number in range(1 + len(lookaheads(training)))
        )
        path = ("round", round, "client")
        if together is not None and together.possible(starts is None) and len(clients) > 1:
            losses = together.train(shards, clients, params, rows, self.seed, *path, starts=starts, watched=watched)
        else:
            losses = torch.empty(len(clients))
            for place, client in enumerate(clients):
                _, losses[place] = train_client(
                    self.model,
                    params,
                    shards[client],
                    self.objective,
                    training,
                    self.seed,
                    *(*path, client),
                    out=rows[place],
                    start=None if starts is None else starts[place],
                    watched=[early[place] for early in watched],
                )
        return Uploads(
            rows=rows,
            examples=torch.tensor([len(self.shards.places[client]) for client in clients]),
            losses=losses,
            clients=torch.tensor(clients, dtype=torch.int64),
            lookahead=tuple(watched),
        )
