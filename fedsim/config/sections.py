"""The sections of a configuration, their keys, bounds and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Gt, Le
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedsim.domain import Count, Knowledge, NonNegative, Positive, PositiveCount, Share

Momentum = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
"""A name that is also a folder: no separators, no leading dot."""


RIVALS = {"training": (("steps", "epochs"),), "clients": (("per_round", "fraction"),)}
"""Keys of which a section may have one; on the command line the one replaces the other."""


class Section(BaseModel):
    """A table of the configuration: unknown keys are refused, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Entry(Section):
    """A section that names an entry of a table; ``entries.config_type`` adds that entry's own settings."""

    name: str = Field(description='a name of the table, or "package.module:Class" of your own')


class ClientsSection(Section):
    """How many clients there are, and how many of them take part in a round."""

    count: PositiveCount = Field(10, description="clients in the federation")
    per_round: PositiveCount | None = Field(None, description="clients chosen each round; all when left out")
    fraction: Annotated[float, Gt(0), Le(1)] | None = Field(
        None,
        description="share of the clients chosen each round, rounded to the nearest number, at least one",
    )

    @property
    def chosen(self) -> int:
        """How many clients take part in a round."""
        if self.fraction is not None:
            return max(1, round(self.fraction * self.count))
        return self.count if self.per_round is None else self.per_round

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.per_round is not None and self.fraction is not None:
            raise ValueError("set per_round or fraction, not both")
        if self.chosen > self.count:
            raise ValueError(f"per_round = {self.per_round} is more than the {self.count} clients there are")
        return self


class TrainingSection(Section):
    """A client's work in a round."""

    algorithm: Literal["fedavg", "fedsgd"] = Field(
        "fedavg", description="fedavg uploads the change after local steps, fedsgd minus one batch's gradient"
    )
    steps: PositiveCount | None = Field(None, description="local steps; 1 when neither steps nor epochs is set")
    epochs: PositiveCount | None = Field(None, description="passes over the client's data, instead of steps")
    batch_size: PositiveCount = Field(32, description="samples a step; a client with fewer uses all it has")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="local optimiser, new in every round")
    learning_rate: Positive = Field(0.1, description="of the local optimiser; fedsgd does not use it")
    momentum: Momentum = Field(0.0, description="of sgd")
    weight_decay: NonNegative = Field(0.0, description="of the local optimiser, as torch.optim defines it")
    lookahead_every: Count | None = Field(
        None,
        description="for rules that watch: upload after each so many-th step, too; 0 never, each step if left out",
    )
    moving_rate: Annotated[float, Gt(0), Le(1)] = Field(
        1.0,
        description="how far each client moves from what it last trained to the server's model before it trains again; "
        "1 takes over the server's",
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("set steps or epochs, not both")
        if self.algorithm == "fedsgd" and (self.epochs is not None or self.steps not in (None, 1)):
            raise ValueError("fedsgd takes one gradient: set steps = 1, or leave out steps and epochs")
        if self.algorithm == "fedsgd" and (self.optimizer != "sgd" or self.momentum or self.weight_decay):
            raise ValueError("fedsgd uploads the bare gradient: leave out optimizer, momentum and weight_decay")
        if self.optimizer == "adam" and self.momentum:
            raise ValueError("momentum belongs to sgd; adam has its own")
        return self

    @model_validator(mode="after")
    def _steps_to_look_at(self) -> Self:
        if self.lookahead_every and self.epochs is not None:
            raise ValueError("lookahead_every counts steps: set steps, not epochs")
        if self.algorithm == "fedsgd" and self.moving_rate != 1:
            raise ValueError('moving_rate belongs to clients that train: set algorithm = "fedavg", or leave it out')
        return self


class ServerSection(Section):
    """What the server does with the rule's step."""

    learning_rate: Positive = Field(1.0, description="params += learning_rate * velocity")
    momentum: Momentum = Field(0.0, description="velocity = momentum * velocity + step")
    weighting: Literal["equal", "examples"] = Field(
        "equal", description='each upload\'s weight: equal, or the example count it claims ("examples")'
    )
    weight_cap: PositiveCount | None = Field(None, description="the most examples a client may claim")
    buffers: Literal["median", "mean", "keep"] = Field(
        "median",
        description="how BatchNorm statistics are merged: entry-wise, outside the rule; or kept as they are",
    )
    max_skipped: PositiveCount = Field(10, description="the run stops after so many skipped rounds in a row")

    @model_validator(mode="after")
    def _cap_on_something(self) -> Self:
        if self.weight_cap is not None and self.weighting == "equal":
            raise ValueError('weight_cap caps claimed examples: set weighting = "examples", or leave it out')
        return self


class AttackSection(Entry):
    """The adversary: its attack, its clients, what it sees, when and how stealthily it strikes."""

    clients: Count | tuple[Count, ...] = Field(0, description="how many, spread by seed; or a list of client ids")
    knowledge: Knowledge = Field(
        "honest",
        description="own: its clients' updates; honest: all updates of the round; rule: the server's rule, too",
    )
    stealth: Share = Field(1.0, description="alpha: sent = (1 - alpha) honest + alpha crafted")
    stealth_final: Share | None = Field(None, description="alpha in the last round, reached linearly")
    start: PositiveCount = Field(1, description="first round of the attack")
    stop: PositiveCount | None = Field(None, description="last round of the attack; the run's last when left out")
    every: PositiveCount = Field(1, description="strike in each every-th round from start")
    probability: Share = Field(1.0, description="of striking in such a round")
    late: bool = Field(False, description="strike in a round's last uploads only, and be honest in its lookahead")

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.stop is not None and self.stop < self.start:
            raise ValueError(f"stop = {self.stop} is before start = {self.start}")
        return self


class EvaluationSection(Section):
    """When and how the global model is tested."""

    every: PositiveCount = Field(1, description="test after each every-th round, and after the last")
    batch_size: PositiveCount = Field(1000, description="samples a forward pass")
    failure: Share = Field(0.5, description="accuracy below which the model counts as failed, in rounds_to_failure")


class EngineSection(Section):
    """Who carries the rounds, and on what."""

    carrier: Literal["local", "flower"] = Field(
        "local", description="local: all clients in this process; flower: on Flower's simulation engine, on Ray"
    )
    address: str | None = Field(None, description="of a Ray cluster, for the flower carrier; this machine if left out")
    deadline: Positive = Field(
        600.0,
        description="seconds a round waits on Flower, for all it asks of clients; later uploads are dropped",
    )
    adversary: Literal["server", "clients"] = Field(
        "server",
        description="where crafted uploads are made: on the server, or by the malicious clients themselves, who are "
        "shown what the threat model grants",
    )
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:[0-9]+)?)$")] = Field(
        "cpu", description='where tensors live: "cpu", "cuda", "cuda:1"'
    )
    batching: Literal["auto", "stacked", "loop"] = Field(
        "auto",
        description="clients of a round in one tensor program (stacked), one after the other (loop: to the byte as on "
        "Flower), or what is faster",
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="CPU threads; results are the same bytes for the same number"
    )

    @model_validator(mode="after")
    def _crafted_by_someone(self) -> Self:
        if self.adversary == "clients" and self.carrier == "local":
            raise ValueError(
                'adversary = "clients" is for clients that get messages: set carrier = "flower", with fedsim.serve, '
                "too; or leave it out"
            )
        return self


class Config(Section):
    """A whole experiment."""

    name: Name = Field("run", description="the run's folder is OUT/name/id")
    seed: Count = Field(0, description="everything random follows from it")
    rounds: PositiveCount = Field(50, description="rounds to play")
    data: Entry = Entry(name="digits")
    partition: Entry = Entry(name="iid")
    model: Entry = Entry(name="mlp")
    objective: Entry = Entry(name="erm")
    clients: ClientsSection = ClientsSection()
    training: TrainingSection = TrainingSection()
    server: ServerSection = ServerSection()
    strategy: Entry = Entry(name="mean")
    attack: AttackSection = AttackSection(name="none")
    evaluation: EvaluationSection = EvaluationSection()
    engine: EngineSection = EngineSection()
    compare: dict[Name, dict[str, Any]] = Field(
        default_factory=dict,
        description="runs shown beside this one in its report: a label, and the keys that differ",
    )
