"""Malicious clients on a grid that craft their uploads themselves: what they are shown, and what they send back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fedsim.domain import Drop, View
from fedsim.engine.exchange import ONCE, unforeseeable
from fedsim.engine.forging import Forger
from fedsim.engine.grid import GridCarrier, rows_of
from fedsim.lazy import torch
from fedsim.transport import decode, encode

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, RecordDict
    from torch import Tensor

ACTION = "forge"
"""Of the query that asks a malicious client for its upload."""


@dataclass(frozen=True)
class GridAccomplices:
    """Malicious clients on a Flower grid, who are sent what the threat model shows and each craft their own row.

    All of them see the same and draw the same numbers, so that together they upload the very bytes that the server
    would have put in their places. The rule is not sent: clients make it from the experiment's settings.

    Cost: (f + 1) d numbers to each of f clients, h d more where they see the honest updates, 4 bytes each; and each
    crafts all f rows.
    """

    carrier: GridCarrier

    def craft(
        self, view: View, clients: Sequence[int], *path: int | str
    ) -> tuple[Mapping[int, Tensor], tuple[Drop, ...]]:
        """What each client (those of ``view.own``) makes of the view for itself (d,); and those who made nothing.

        ``path`` names a lookahead's draws.
        """
        from flwr.app import ConfigRecord, MessageType, RecordDict

        shown, contents = _shown(view), {}
        for client in clients:
            order = ConfigRecord(
                {
                    "settings": self.carrier.settings,
                    "client": client,
                    "round": view.round,
                    "chosen": view.n,
                    "attackers": list(clients),
                    "others": list(view.others),
                    "draws": json.dumps(path),
                    ONCE: unforeseeable(),
                }
            )
            contents[client] = RecordDict({"order": order, **shown})
        kind = f"{MessageType.QUERY}.{ACTION}"
        found, lost = self.carrier.ask(kind, contents, view.round, partial(rows_of, size=len(view.params)))
        return {client: row for client, (row,) in found.items()}, lost


def _shown(view: View) -> dict[str, ArrayRecord]:
    """The numbers of a view as records: under ``memory`` the rule's, under ``view`` all others."""
    from flwr.app import ArrayRecord

    tensors = {"params": view.params, "own": view.own, "honest": view.honest, "poisoned": view.poisoned}
    tensors["last"] = view.last
    records = {"view": {name: tensor for name, tensor in tensors.items() if tensor is not None}}
    if view.memory is not None:
        records["memory"] = dict(view.memory)
    return {
        record: ArrayRecord({name: encode(tensor.detach().cpu().numpy()) for name, tensor in found.items()})
        for record, found in records.items()
    }


def seen(content: RecordDict, forger: Forger) -> View:
    """The view that a message shows to the clients of ``forger``, who know the rule if they are shown its memory."""
    order: dict[str, Any] = dict(content.config_records["order"])
    data = tuple(forger.shards[client] for client in order["attackers"])
    device = data[0].inputs.device
    tensors = _tensors(content.array_records["view"], device)
    memory = content.array_records.get("memory")
    return View(
        round=order["round"],
        n=order["chosen"],
        params=tensors["params"],
        own=tensors["own"],
        honest=tensors.get("honest"),
        rule=None if memory is None else forger.rule,
        memory=None if memory is None else _tensors(memory, device),
        poisoned=tensors.get("poisoned"),
        layout=forger.layout,
        data=data,
        last=tensors.get("last"),
        attackers=() if memory is None else tuple(order["attackers"]),
        others=tuple(order["others"]),
    )


def _tensors(record: ArrayRecord, device: torch.device) -> dict[str, Tensor]:
    return {name: torch.from_numpy(decode(array).copy()).to(device) for name, array in record.items()}
