"""fedsim's ClientApp: a client's work on Flower, the same that the local carrier does.

``app`` is for real deployments: what the server sends is data. It may choose among fedsim's own data sets,
models, objectives and attacks, never name code to import, and where the data lie is the client's own affair.
``trusting`` is for simulations, where both sides are the same user.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedsim.build import TABLES, Federation, federation, rule_shown
from fedsim.config import Config
from fedsim.config.reading import read_text
from fedsim.domain import Mistake
from fedsim.engine.collusion import ACTION, seen
from fedsim.engine.exchange import ONCE
from fedsim.engine.grid import rows_record
from fedsim.lazy import torch
from fedsim.tables import Table, fields
from fedsim.transport import decode


def _client_app(trusted: bool) -> ClientApp:
    made = ClientApp()

    @made.query()
    def hello(message: Message, context: Context) -> Message:
        """Which client this node is."""
        said: dict[str, int | float | list[int] | list[float]] = {"client": int(context.node_config["partition-id"])}
        # What makes the question like no other makes the answer so, too.
        said |= message.content.metric_records.get(ONCE, {})
        return Message(RecordDict({"client": MetricRecord(said)}), reply_to=message)

    @made.train()
    def train(message: Message, context: Context) -> Message:
        """Train from the model in the message and reply with the row to upload."""
        return Message(node(message, context).work(message.content), reply_to=message)

    @made.query(ACTION)
    def forge(message: Message, context: Context) -> Message:
        """Craft this malicious client's row from what the message shows."""
        return Message(node(message, context).forge(message.content), reply_to=message)

    def node(message: Message, context: Context) -> Node:
        order = message.content.config_records["order"]
        return _node(str(order["settings"]), trusted, tuple(sorted(context.node_config.items())))

    return made


@dataclass(frozen=True)
class Node:
    """One client on a grid.

    Fields:
        client: its id.
        federation: the experiment as this client sees it.
        malicious: whether it crafts its upload itself, from its own data and the broadcast alone.
    """

    client: int
    federation: Federation
    malicious: bool
    _broadcast: dict[int, torch.Tensor] = field(default_factory=dict)

    def work(self, content: RecordDict) -> RecordDict:
        """The reply to an order: this client's row, its count of examples and its training loss."""
        order = self._order(content)
        carrier, round = self.federation.carrier, order["round"]
        theta = decode(content.array_records["arrays"]["theta"], carrier.model.layout.size)
        params = torch.from_numpy(theta.copy()).to(carrier.model.memory.device)
        starts = None
        if "start" in content.array_records:
            start = decode(content.array_records["start"]["theta"], carrier.model.layout.size)
            starts = torch.from_numpy(start.copy()).to(params)[None, :]
        uploads = carrier.train([self.client], params, round, order["poisoned"], starts)
        moments = [*uploads.lookahead, uploads.rows]
        if self.malicious:
            last = self._last(params[: carrier.model.layout.weights], round)
            turn = self.federation.forger.turn(uploads, params, round, order["chosen"], last, starts)
            moments = [turn.ahead(moment, {}).rows for moment in range(len(uploads.lookahead))]
            moments.append(turn.sent({}).rows)
        *ahead, rows = moments
        return RecordDict(
            {
                "arrays": rows_record([rows[0], *(early[0] for early in ahead)]),
                "metrics": MetricRecord({"examples": int(uploads.examples[0]), "loss": float(uploads.losses[0])}),
            }
        )

    def _last(self, weights: torch.Tensor, round: int) -> torch.Tensor | None:
        """How the weights changed since the round before, if this client saw that round's."""
        before = self._broadcast.get(round - 1)
        self._broadcast.clear()
        self._broadcast[round] = weights
        return None if before is None else weights - before

    def forge(self, content: RecordDict) -> RecordDict:
        """The reply to what the adversary is shown: the row (d,) that this client uploads."""
        order, forger = self._order(content), self.federation.forger
        attackers = order["attackers"]
        if self.malicious or self.client not in forger.adversary.clients:
            raise Mistake(f"client {self.client} takes no part in the server's attack")
        row = forger.craft(seen(content, forger), *json.loads(order["draws"]))[attackers.index(self.client)]
        return RecordDict({"arrays": rows_record([row])})

    def _order(self, content: RecordDict) -> dict[str, Any]:
        order: dict[str, Any] = dict(content.config_records["order"])
        if order["client"] != self.client:
            raise Mistake(f"this node is client {self.client}, not {order['client']}")
        torch.set_num_threads(self.federation.config.engine.threads)
        return order


@lru_cache(maxsize=16)
def _node(settings: str, trusted: bool, config: tuple[tuple[str, Any], ...]) -> Node:
    own = dict(config)
    client, changes = int(own["partition-id"]), {}
    root = own.get("data-root", None if trusted else "data")
    if root is not None and _lies_somewhere(settings, trusted):
        changes["data"] = {"root": root}
    if "attack" in own:
        changes["attack"] = lone_attack(str(own["attack"]), client)
    found = _federation(settings, trusted, json.dumps(changes))
    return Node(client, found, malicious="attack" in own)


def _lies_somewhere(settings: str, trusted: bool) -> bool:
    """Whether the experiment's data set is read from a folder: on a client, that is the client's to name."""
    default: str = Config.model_fields["data"].get_default().name
    try:
        entry = _tables(trusted)["data"].load(tomllib.loads(settings).get("data", {}).get("name", default))
    except (tomllib.TOMLDecodeError, LookupError, TypeError, Mistake):
        return False  # What is wrong with the settings is told when they are read.
    return any(field.name == "root" for field in fields(entry))


def _tables(trusted: bool) -> Mapping[str, Table]:
    return TABLES if trusted else {key: _Known(table.kind, table.entries) for key, table in TABLES.items()}


@lru_cache(maxsize=2)
def _federation(settings: str, trusted: bool, changes: str) -> Federation:
    """Built once for an experiment, and shared by the clients of a process."""
    config = read_text(settings, "the server's settings", json.loads(changes), _tables(trusted))
    if not trusted and getattr(config.data, "download", False):
        raise Mistake("a client fetches no data on a server's word: bring them, and name their folder")
    return federation(config, rule_shown(config))


def lone_attack(section: str, client: int) -> dict[str, Any]:
    """The attack section of a client that attacks on its own, from its TOML."""
    attack = tomllib.loads(section)
    if attack.get("knowledge", "own") != "own":
        raise Mistake(
            f'attack.knowledge: "{attack["knowledge"]}" is not to be had: a client on its own sees only its own data '
            'and the broadcast; allowed: "own"'
        )
    return {**attack, "clients": [client], "knowledge": "own"}


class _Known(Table):
    """A table that loads its own entries only."""

    def load(self, name: str) -> type[Any]:
        """The class behind a name of the table; a dotted path is refused."""
        if name not in self.entries:
            raise Mistake(f"the server names {self.kind} {name!r}, which is none of fedsim's own")
        return super().load(name)


app = _client_app(trusted=False)
trusting = _client_app(trusted=True)
