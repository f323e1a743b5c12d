"""Any rule of the table as a Flower strategy, for anyone's ServerApp."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from logging import INFO, WARNING, getLogger
from typing import TYPE_CHECKING, Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedsim.config import ServerSection
from fedsim.domain import Aggregator, Mistake, Observer, Round, ServerState, Uploads
from fedsim.lazy import torch
from fedsim.seeds import stream
from fedsim.server import Settled, observe, root_samples, settle
from fedsim.transport import Codec, Malformed, is_statistic
from strategies.replies import Replies, means, metrics_of

if TYPE_CHECKING:
    from torch import Tensor

LOGGER = getLogger("flwr")
"""Flower's own, so that a run reads as one."""


class RobustStrategy(Strategy):
    """A Flower strategy around an aggregation rule: ``RobustStrategy(Krum(byzantine=2), fraction_train=0.5)``.

    Clients send back their model's arrays under the server's own keys, as for Flower's FedAvg. The rule works on flat
    updates, w_client - w_server; BatchNorm statistics are merged entry by entry, and integer arrays stay the
    server's. A reply that
    is an error, lacks an array, has one too many, of another type or shape, or holds a value that is not finite costs
    its sender's upload and nothing else. When too few are left for the rule, the round changes nothing.

    Args:
        rule: an entry of ``strategies.RULES``, or any ``fedsim.domain.Aggregator``.
        fraction_train, fraction_evaluate: share of the connected nodes asked each round; 0 asks none to evaluate.
        min_train_nodes, min_available_nodes: as in Flower's FedAvg.
        wait_seconds: how long to wait for ``min_available_nodes`` before Mistake.
        seed: nodes are chosen by it, by their numbers: in the order in which they were first seen.
        learning_rate, momentum: of the server's step, see ``ServerSection``.
        weighting: "equal", or "examples" for the counts that clients claim, up to ``weight_cap``.
        buffers: "median", "mean" or "keep": how BatchNorm statistics are merged.
        max_skipped: Mistake after so many skipped rounds in a row.
        statistic: whether an array of that name is a BatchNorm statistic.
        weighted_by_key, arrayrecord_key, configrecord_key: as in Flower's FedAvg.
        lookahead: how many uploads clients send of their way to what they send back, for rules that watch: the arrays
            after earlier local steps, in records "arrays-lookahead-1" and so on.
        root: from the model's arrays, those after training as a client does, on clean samples of the server's own; for
            rules that measure uploads by the server's own update. How many samples is its own affair.

    ``rounds`` holds what happened, a ``fedsim.domain.Round`` each; clients in it are nodes by their numbers
    (``nodes``).

    Differs from: Flower's own strategies, which raise on one bad reply and end the run, aggregate raw weights, and
    weigh by what clients claim.
    """

    def __init__(
        self,
        rule: Aggregator,
        *,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int = 1,
        min_available_nodes: int = 1,
        wait_seconds: float = 600.0,
        seed: int = 0,
        learning_rate: float = 1.0,
        momentum: float = 0.0,
        weighting: str = "equal",
        weight_cap: int | None = None,
        buffers: str = "median",
        max_skipped: int = 10,
        statistic: Callable[[str], bool] = is_statistic,
        weighted_by_key: str = "num-examples",
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        lookahead: int = 0,
        root: Callable[[ArrayRecord], ArrayRecord] | None = None,
    ) -> None:
        if root is None and root_samples(rule):
            raise Mistake(
                f"RobustStrategy: {type(rule).__name__} measures uploads by the server's own update; give root, a "
                "function from the model's arrays to those after training on clean samples of the server's"
            )
        if lookahead < 0:
            raise Mistake(f"RobustStrategy: lookahead = {lookahead}; must be at least 0")
        if lookahead and not isinstance(rule, Observer):
            raise Mistake(
                f"RobustStrategy: lookahead = {lookahead}: {type(rule).__name__} watches no lookahead uploads"
            )
        if not 0 < fraction_train <= 1 or not 0 <= fraction_evaluate <= 1:
            raise Mistake("RobustStrategy: fraction_train must be in (0, 1] and fraction_evaluate in [0, 1]")
        self.rule = rule
        self.server = ServerSection.model_validate(
            {
                "learning_rate": learning_rate,
                "momentum": momentum,
                "weighting": weighting,
                "weight_cap": weight_cap,
                "buffers": buffers,
                "max_skipped": max_skipped,
            }
        )
        self.fraction_train, self.fraction_evaluate = fraction_train, fraction_evaluate
        self.min_train_nodes, self.min_available_nodes = min_train_nodes, min_available_nodes
        self.wait_seconds, self.seed, self.statistic = wait_seconds, seed, statistic
        self.weighted_by_key = weighted_by_key
        self.arrayrecord_key, self.configrecord_key = arrayrecord_key, configrecord_key
        self.records = [arrayrecord_key, *(f"{arrayrecord_key}-lookahead-{n}" for n in range(1, lookahead + 1))]
        self.root = root
        self.nodes: dict[int, int] = {}
        self.rounds: list[Round] = []
        self._codec: Codec | None = None
        self._state: ServerState | None = None
        self._broadcast = ArrayRecord()
        self._chosen: list[int] = []
        self._replies: Replies | None = None

    def summary(self) -> None:
        """Log the rule and the server's settings."""
        LOGGER.log(INFO, "\t├──> Rule: %s", self.rule)
        LOGGER.log(INFO, "\t└──> Server: %s", self.server)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """A message to each node chosen by (seed, round); the model is encoded once."""
        if server_round == 1 or self._codec is None or self._state is None:
            self._begin(arrays)
        available = self._available(grid)
        count = min(len(available), max(self.min_train_nodes, round(self.fraction_train * len(available)), 1))
        self._chosen = self._sample(available, count, server_round, "sample")
        self._broadcast = arrays
        return self._messages(self._chosen, arrays, config, server_round, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The new model, or None when the round changes nothing; and the figures of the round."""
        assert self._codec is not None
        assert self._state is not None
        assert self._replies is not None
        clients = {node: self.nodes[node] for node in self._chosen}
        uploads, metrics = self._replies.read(list(replies), clients, self._state.params)
        settled = self._settled(uploads)
        # The matrix of uploads is used again: nothing that lasts may be a view into it.
        memory = {name: tensor.clone() for name, tensor in settled.state.memory.items()}
        self._state = replace(settled.state, memory=memory, momentum=settled.state.momentum.clone())
        dropped = (*uploads.dropped, *settled.dropped)
        self.rounds.append(Round(server_round, tuple(sorted(clients.values())), (), False, dropped, settled.skipped))
        if settled.skipped is not None:
            LOGGER.log(WARNING, "round %s skipped: %s", server_round, settled.skipped)
            if self._state.skipped >= self.server.max_skipped:
                raise Mistake(
                    f"{self._state.skipped} rounds in a row were skipped, the last because: {settled.skipped}"
                )
        for drop in dropped:
            LOGGER.log(WARNING, "round %s: upload of client %s dropped: %s", server_round, drop.client, drop.reason)
        figures: dict[str, Any] = {
            **means(metrics),
            "dropped": len(dropped),
            "skipped": int(settled.skipped is not None),
        }
        arrays = None if settled.skipped is not None else self._codec.encode(self._state.params)
        return arrays, MetricRecord(figures)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """A message to each node chosen to evaluate; none when ``fraction_evaluate`` is 0."""
        available = self._available(grid)
        count = round(self.fraction_evaluate * len(available))
        chosen = self._sample(available, count, server_round, "evaluate")
        return self._messages(chosen, arrays, config, server_round, MessageType.EVALUATE)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The plain mean of each finite metric; clients report their own, so it is no measure of a defense."""
        found = [metrics for reply in replies if (metrics := metrics_of(reply))]
        return MetricRecord(means(found)) if found else None

    def _begin(self, arrays: ArrayRecord) -> None:
        self._codec = Codec.of(arrays, self.statistic)
        params = self._codec.decode(arrays)
        momentum = torch.zeros(self._codec.layout.weights)
        counted_by = None if self.server.weighting == "equal" else self.weighted_by_key
        self._replies = Replies(self._codec, self.records, counted_by)
        self._state = ServerState(0, params, self.rule.init(self._codec.layout), momentum)
        self.rounds = []

    def _available(self, grid: Grid) -> list[int]:
        """Node ids, once enough are there; each new one gets the next number."""
        deadline = time.monotonic() + self.wait_seconds
        pause = 0.05
        while len(nodes := sorted(grid.get_node_ids())) < self.min_available_nodes:
            if time.monotonic() > deadline:
                raise Mistake(
                    f"{len(nodes)} nodes are there after {self.wait_seconds:g} s, "
                    f"not the {self.min_available_nodes} asked for"
                )
            time.sleep(pause)
            pause = min(2 * pause, 1.0)
        for node in nodes:
            self.nodes.setdefault(node, len(self.nodes))
        return sorted(nodes, key=self.nodes.__getitem__)

    def _sample(self, nodes: list[int], count: int, server_round: int, purpose: str) -> list[int]:
        rng = stream(self.seed, "round", server_round, purpose)
        return [nodes[place] for place in sorted(rng.choice(len(nodes), count, replace=False).tolist())]

    def _messages(
        self, nodes: list[int], arrays: ArrayRecord, config: ConfigRecord, server_round: int, kind: str
    ) -> list[Message]:
        config["server-round"] = server_round
        content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        return [Message(content=content, message_type=kind, dst_node_id=node) for node in nodes]

    def _settled(self, uploads: Uploads) -> Settled:
        """What becomes of the uploads, once the rule has watched those ahead of them."""
        assert self._codec is not None
        assert self._state is not None
        memory, params, layout = self._state.memory, self._state.params, self._codec.layout
        for rows in uploads.lookahead:
            memory = observe(memory, replace(uploads, rows=rows), params, self.rule, layout, self.server)
        return settle(self._state, uploads, self.rule, layout, self.server, self._own_update(), memory)

    def _own_update(self) -> Tensor | None:
        """What the server itself would upload (size,), where it can train."""
        if self.root is None:
            return None
        assert self._codec is not None
        assert self._state is not None
        try:
            return self._codec.decode(self.root(self._broadcast)) - self._state.params
        except Malformed as error:
            raise Mistake(f"RobustStrategy: root gave back other arrays than the model's: {error}") from error
