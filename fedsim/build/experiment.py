"""A configuration come to life: its clients, here or on a grid, and a world to play rounds in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsim.build.federation import federation, tested
from fedsim.build.roles import client_settings, rule_of, watched
from fedsim.config import Config
from fedsim.domain import Mistake, Poison, ServerState
from fedsim.engine.collusion import GridAccomplices
from fedsim.engine.enrolment import Enrolment
from fedsim.engine.forging import Carrier, Forger
from fedsim.engine.grid import GridCarrier
from fedsim.engine.round import World
from fedsim.training import lookaheads

MUCH = 1 << 31
"""Bytes of lookahead uploads that are not made unless a configuration asks for them."""


@dataclass(frozen=True)
class Experiment:
    """A configuration come to life; ``state`` is that before the first round."""

    config: Config
    world: World
    state: ServerState
    labels: np.ndarray


def experiment(config: Config, enrolment: Enrolment | None = None) -> Experiment:
    """Everything a run needs; its clients are the nodes of ``enrolment``, if there is one, else of this process.

    Raises Mistake for what cannot hold together, starting with the key.
    """
    rule = rule_of(config)
    told = watched(config, rule)
    clients = federation(told, rule)
    model = clients.carrier.model
    if config.training.lookahead_every is None:
        _affordable(told, model.layout.size)
    carrier: Carrier = clients.carrier
    forger = clients.forger
    if enrolment is not None:
        carrier, forger = _on_grid(told, enrolment, forger)
    world = World(
        seed=config.seed,
        clients=config.clients.count,
        chosen=config.clients.chosen,
        layout=model.layout,
        carrier=carrier,
        forger=forger,
        rule=rule,
        server=config.server,
        evaluate=lambda params: tested(clients, params),
        evaluated=lambda round: round % config.evaluation.every == 0 or round == config.rounds,
        root=clients.root,
        moving_rate=config.training.moving_rate,
    )
    return Experiment(config, world, world.start(model.params), clients.labels)


def _affordable(config: Config, size: int) -> None:
    """Refuse lookahead uploads that nobody asked for in so many words, where they take much memory."""
    ahead = len(lookaheads(config.training))
    needed = 4 * ahead * config.clients.chosen * size
    if needed > MUCH:
        raise Mistake(
            f"training.lookahead_every: {ahead} lookahead uploads of {config.clients.chosen} clients take "
            f"{needed / 1e9:.1f} GB; set it to 1 for them all, higher for fewer, or to 0 for none"
        )


def _on_grid(config: Config, enrolment: Enrolment, forger: Forger) -> tuple[GridCarrier, Forger]:
    """The carrier whose clients are the nodes of ``enrolment``, and the adversary among them."""
    crafting = config.engine.adversary == "clients"
    attacks = bool(forger.adversary.clients)
    ahead = len(lookaheads(config.training))
    crafted = 1 + (0 if config.attack.late else ahead)
    phases = 1 + (attacks and isinstance(forger.adversary.attack, Poison)) + (attacks and crafting) * crafted
    settings, deadline = client_settings(config), config.engine.deadline
    carrier = GridCarrier(enrolment, settings, forger.layout.size, deadline, phases, ahead)
    return carrier, replace(forger, carrier=carrier, accomplices=GridAccomplices(carrier) if crafting else None)
