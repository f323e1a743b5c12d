"""A configuration come to life: its clients, here or on a grid, and a world to play rounds in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsim.build.federation import federation, tested
from fedsim.build.roles import client_settings, rule_of
from fedsim.config import Config
from fedsim.domain import Poison, ServerState
from fedsim.engine.collusion import GridAccomplices
from fedsim.engine.enrolment import Enrolment
from fedsim.engine.forging import Carrier, Forger
from fedsim.engine.grid import GridCarrier
from fedsim.engine.round import World


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
    clients = federation(config, rule)
    model = clients.carrier.model
    carrier: Carrier = clients.carrier
    forger = clients.forger
    if enrolment is not None:
        carrier, forger = _on_grid(config, enrolment, forger)
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
    )
    return Experiment(config, world, world.start(model.params), clients.labels)


def _on_grid(config: Config, enrolment: Enrolment, forger: Forger) -> tuple[GridCarrier, Forger]:
    """The carrier whose clients are the nodes of ``enrolment``, and the adversary among them."""
    crafting = config.engine.adversary == "clients"
    attacks = bool(forger.adversary.clients)
    phases = 1 + (attacks and isinstance(forger.adversary.attack, Poison)) + (attacks and crafting)
    carrier = GridCarrier(enrolment, client_settings(config), forger.layout.size, config.engine.deadline, phases)
    return carrier, replace(forger, carrier=carrier, accomplices=GridAccomplices(carrier) if crafting else None)
