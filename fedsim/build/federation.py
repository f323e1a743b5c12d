"""The clients of a configuration with their data, and the test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from clients.adversary import Adversary
from fedsim.build.roles import adversary_of
from fedsim.build.tables import made
from fedsim.config import Config
from fedsim.domain import Aggregator, Dataset, Measure, Mistake, Poison, Refused, Shards, Targeted
from fedsim.engine.forging import Forger
from fedsim.engine.local import LocalCarrier
from fedsim.engine.root import Root
from fedsim.lazy import torch
from fedsim.seeds import stream, torch_stream
from fedsim.server import root_samples
from fedsim.training import evaluate
from fedsim.vectors import FlatModule

if TYPE_CHECKING:
    from torch import Tensor

    from fedsim.engine.stacking import SideBySide
    from fedsim.objectives.objective import Objective


@dataclass(frozen=True)
class Federation:
    """The clients of a configuration with their data, and the test set.

    Fields:
        carrier: trains any of them in this process.
        forger: the adversary among them.
        goal: what a targeted attack wants, made of the test set; None without such an attack.
        labels: (clients, classes) how many samples of each label each client holds.
        root: trains on samples that no client holds; None where the rule wants none.
    """

    config: Config
    carrier: LocalCarrier
    forger: Forger
    test: Dataset
    goal: Dataset | None
    labels: np.ndarray
    root: Root | None


def federation(config: Config, rule: Aggregator | None = None) -> Federation:
    """The clients of ``config``, in the hands of its adversary some of them, who is shown ``rule`` if granted."""
    adversary = adversary_of(config)
    device = _device(config.engine.device)
    train, test = made("data", config.data).load(config.seed)
    held_back = _held_back(config, len(train))
    parts = _parts(config, train, held_back)
    shards = Shards(_on(train, device), dict(enumerate(parts)))
    goal = _goal(adversary, test, config.seed)
    model = _model(config, train, device)
    objective = cast("Objective", made("objective", config.objective))
    carrier = LocalCarrier(
        model=model,
        shards=shards,
        poisoned=_poisoned(adversary, shards, goal, config.seed),
        pace=getattr(adversary.attack, "pace", 1),
        objective=objective,
        training=config.training,
        seed=config.seed,
        side_by_side=_side_by_side(config, model, objective, shards.samples),
    )
    own = {client: shards[client].copy() for client in adversary.clients}
    forger = Forger(adversary, carrier, own, model.layout, rule, config.seed)
    labels = np.stack([np.bincount(train.labels[part].numpy(), minlength=train.classes) for part in parts])
    samples = _on(train.take(torch.from_numpy(held_back)), device)
    return Federation(
        config=config,
        carrier=carrier,
        forger=forger,
        test=_on(test, device),
        goal=None if goal is None else _on(goal, device),
        labels=labels,
        root=Root(model, samples, objective, config.training, config.seed) if len(samples) else None,
    )


def tested(federation: Federation, params: Tensor) -> dict[str, Measure]:
    """The figures of a model (size,) on the test set and, where there is a targeted attack, on its goal."""
    model, batch_size = federation.carrier.model, federation.config.evaluation.batch_size
    plain = evaluate(model, params, federation.test, batch_size)
    found: dict[str, Measure] = {"loss": plain.loss, "accuracy": plain.accuracy, "class_accuracy": plain.by_class}
    if federation.goal is not None:
        wanted = evaluate(model, params, federation.goal, batch_size)
        found |= {"attack_success_rate": wanted.accuracy, "target_confidence": wanted.confidence}
    return found


def _held_back(config: Config, samples: int) -> np.ndarray:
    """Which samples the rule wants for the server's own, ascending."""
    count = root_samples(made("strategy", config.strategy))
    if count >= samples:
        raise Mistake(f"strategy: root_samples = {count} leaves clients none of the {samples} training samples")
    return np.sort(stream(config.seed, "root").choice(samples, count, replace=False))


def _parts(config: Config, train: Dataset, held_back: np.ndarray) -> list[np.ndarray]:
    partition = made("partition", config.partition)
    rng = stream(config.seed, "partition")
    dealt = np.delete(np.arange(len(train)), held_back)
    parts: list[np.ndarray] = partition(train.labels.numpy()[dealt], config.clients.count, rng)
    return [dealt[part] for part in parts]


def _goal(adversary: Adversary, test: Dataset, seed: int) -> Dataset | None:
    """What a targeted attack wants; None without clients that attack so. Raises Mistake where the data have none."""
    attack = adversary.attack
    if not isinstance(attack, Targeted) or not adversary.clients:
        return None
    try:
        goal = attack.goal(test, stream(seed, "goal"))
    except Refused as refusal:
        raise Refused(f"attack: {refusal}") from refusal
    return goal if goal is not None and len(goal) else None


def _poisoned(adversary: Adversary, shards: Shards, goal: Dataset | None, seed: int) -> Shards | None:
    """What the adversary's clients train on instead; None when its attack poisons no data."""
    attack = adversary.attack
    if not isinstance(attack, Poison) or not adversary.clients:
        return None
    towards = () if goal is None else (goal,)
    own = {client: shards[client].copy() for client in adversary.clients}
    return Shards.of({client: attack.poison(own[client], stream(seed, "poison", client), *towards) for client in own})


def _side_by_side(config: Config, model: FlatModule, objective: Objective, samples: Dataset) -> SideBySide | None:
    """How the clients of a round are trained together; None when they are trained one after the other.

    Raises Mistake where the configuration asks for what this model or objective does not allow.
    """
    from fedsim.engine.batching import batching_of

    wanted = config.engine.batching
    if wanted == "loop":
        return None
    found = batching_of(model, objective, config.training, samples)
    if found.together is None and wanted == "stacked":
        raise Mistake(f'engine.batching: "stacked" is not to be had: {found.why}; allowed: "auto", "loop"')
    return found.together if found.pays or wanted == "stacked" else None


def _model(config: Config, train: Dataset, device: torch.device) -> FlatModule:
    builder = made("model", config.model)
    with torch_stream(config.seed, "model"):
        try:
            module = builder.build(train.shape, train.classes)
        except RuntimeError as error:
            raise Mistake(f"model: cannot be built: {str(error).splitlines()[0]}") from error
    return FlatModule(module.to(device))


def _on(data: Dataset, device: torch.device) -> Dataset:
    return Dataset(data.inputs.to(device), data.labels.to(device), data.classes)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise Mistake(f"engine.device: {name!r} is not available here: {str(error).splitlines()[0]}") from error
    return device
