"""Anyone's Flower app trains with RobustStrategy, and its server does what fedsim's does."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp.strategy import Result
from torch import Tensor

from fedsim.config import ServerSection
from fedsim.domain import Aggregator, Layout, Mistake, ServerState, Uploads
from fedsim.server import settle
from strategies import CenteredClipping, Krum, Mean, Median, NearestNeighborMixing, RobustStrategy, TrimmedMean
from tests.flower import stranger_app
from tests.flower.grids import InProcessGrid
from tests.flower.stranger_app import LIAR, app, network, served

COUNT = 7
RULES: dict[str, Aggregator] = {
    "krum": Krum(2),
    "median": Median(),
    "trimmed_mean": TrimmedMean(2),
    "centered_clipping": CenteredClipping(radius=1.0),
    "nnm": NearestNeighborMixing(byzantine=2, rule=TrimmedMean(2)),
}
STATISTICS = ["1.running_mean", "1.running_var"]
COUNTER = "1.num_batches_tracked"


@dataclass
class WatchedGrid(InProcessGrid):
    """Keeps a copy of every reply, by round."""

    rounds: list[list[Message]] = field(default_factory=list)

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        """Watch."""
        messages = list(messages)
        replies = super().send_and_receive(messages, timeout=timeout)
        if messages and messages[0].metadata.message_type == "train":
            self.rounds.append(copy.deepcopy(replies))
        return replies


def trained(rule: Aggregator, rounds: int, **settings: Any) -> tuple[RobustStrategy, Result, WatchedGrid]:
    """The stranger's app after its rounds."""
    grid = WatchedGrid.of(app, COUNT)
    assert isinstance(grid, WatchedGrid)
    ended: list[tuple[RobustStrategy, Result]] = []
    served(rule, rounds, ended, **settings)(grid, Context(1, 1, {}, RecordDict(), {}))
    (found,) = ended
    return *found, grid


def test_the_stranger_knows_only_flower_and_strategies() -> None:
    tree = ast.parse(Path(stranger_app.__file__).read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    tops = {module.partition(".")[0] for module in modules}
    assert tops == {"__future__", "functools", "typing", "flwr", "numpy", "torch", "sklearn", "strategies"}


@pytest.mark.parametrize("rule", RULES)
def test_it_learns_beside_a_liar(rule: str) -> None:
    strategy, result, _ = trained(RULES[rule], 6, fraction_evaluate=0.5)
    assert [record.dropped for record in strategy.rounds] == [()] * 6
    assert [record.skipped for record in strategy.rounds] == [None] * 6
    tested = [record["accuracy"] for record in result.evaluate_metrics_serverapp.values()]
    assert len(tested) == 7
    assert tested[0] < 0.3
    assert tested[-1] > 0.8
    assert sorted(result.evaluate_metrics_clientapp) == [1, 2, 3, 4, 5, 6]
    assert result.evaluate_metrics_clientapp[6]["accuracy"] > 0.8
    assert set(result.train_metrics_clientapp[1]) == {"dropped", "skipped", "num-examples", "train_loss"}


def test_without_a_defense_the_liar_wins() -> None:
    _, result, _ = trained(Mean(), 6, fraction_evaluate=0.0)
    assert result.evaluate_metrics_serverapp[6]["accuracy"] < 0.8
    assert result.evaluate_metrics_clientapp == {}


def names() -> tuple[list[str], list[str]]:
    """The model's weights and its statistics, in the order in which torch names them."""
    found = list(network().state_dict())
    return [name for name in found if name not in (*STATISTICS, COUNTER)], STATISTICS


def flat(arrays: Any) -> Tensor:
    """A record as one vector, weights first."""
    weights, statistics = names()
    return torch.cat([torch.from_numpy(arrays[name].numpy().copy()).reshape(-1) for name in weights + statistics])


def layout() -> Layout:
    """Of that vector."""
    state = network().state_dict()
    weights, statistics = names()
    ordered = (*weights, *statistics)
    size = sum(state[name].numel() for name in weights)
    return Layout(ordered, tuple(tuple(state[name].shape) for name in ordered), size)


SERVERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.5, "learning_rate": 0.7},
    "examples": {"weighting": "examples", "weight_cap": 230},
    "mean statistics": {"buffers": "mean"},
    "kept statistics": {"buffers": "keep"},
}


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("rule", [*RULES, "mean"])
def test_the_same_replies_give_the_same_bytes_as_fedsims_server(rule: str, server: str) -> None:
    entry = {**RULES, "mean": Mean()}[rule]
    strategy, result, grid = trained(entry, 3, fraction_evaluate=0.0, **SERVERS[server])
    params = flat(grid.orders[0].content.array_records["arrays"])
    state = ServerState(0, params, entry.init(layout()), torch.zeros(layout().weights))
    for replies in grid.rounds:
        replies = sorted(replies, key=lambda reply: strategy.nodes[reply.metadata.src_node_id])
        uploads = Uploads(
            rows=torch.stack([flat(reply.content.array_records["arrays"]) - state.params for reply in replies]),
            examples=torch.tensor([reply.content.metric_records["metrics"]["num-examples"] for reply in replies]),
            losses=torch.zeros(len(replies)),
            clients=torch.arange(len(replies)),
        )
        state = settle(state, uploads, entry, layout(), ServerSection(**SERVERS[server])).state
    assert torch.equal(flat(result.arrays), state.params)
    assert not torch.equal(state.params, params)


def test_statistics_are_merged_outside_the_rule_and_counters_are_the_servers() -> None:
    class Second(Median):
        """Takes the second client, as a rule that picks does."""

        def __call__(self, updates: Any, memory: Any) -> Any:
            found = super().__call__(updates, memory)
            assert updates.deltas.shape[1] == layout().weights
            return found._replace(step=updates.deltas[1])

    _, result, grid = trained(Second(), 1, fraction_evaluate=0.0)
    assert result.arrays is not None
    before = grid.orders[0].content.array_records["arrays"]
    replies = sorted(grid.rounds[0], key=lambda reply: reply.metadata.src_node_id)
    sent = [reply.content.array_records["arrays"] for reply in replies]
    for name in names()[0]:
        assert np.allclose(result.arrays[name].numpy(), sent[1][name].numpy(), atol=1e-6)
    for name in STATISTICS:
        middle = np.median([arrays[name].numpy() - before[name].numpy() for arrays in sent], axis=0)
        assert np.allclose(result.arrays[name].numpy(), before[name].numpy() + middle, atol=1e-6)
    assert {int(arrays[COUNTER].numpy()) for arrays in sent} != {0}
    assert (result.arrays[COUNTER].numpy(), result.arrays[COUNTER].dtype) == (0, "int64")
    assert list(result.arrays) == list(before)


def test_other_names_can_be_statistics() -> None:
    chosen = {"0.bias"}
    _, result, grid = trained(Krum(2), 1, fraction_evaluate=0.0, buffers="keep", statistic=chosen.__contains__)
    assert result.arrays is not None
    before = grid.orders[0].content.array_records["arrays"]
    kept = [name for name in before if np.array_equal(before[name].numpy(), result.arrays[name].numpy())]
    assert kept == ["0.bias", COUNTER]


# Who is asked.


def test_nodes_are_chosen_by_seed_and_round() -> None:
    def chosen(seed: int) -> list[tuple[int, ...]]:
        strategy, _, _ = trained(Median(), 4, fraction_train=0.45, fraction_evaluate=0.0, seed=seed)
        return [record.clients for record in strategy.rounds]

    first = chosen(1)
    assert first == chosen(1) != chosen(2)
    assert {len(clients) for clients in first} == {3}
    assert len(set(first)) > 1


def test_at_least_so_many_nodes_are_asked() -> None:
    strategy, _, _ = trained(Median(), 1, fraction_train=0.1, min_train_nodes=5, fraction_evaluate=0.0)
    assert len(strategy.rounds[0].clients) == 5


def test_too_few_nodes_are_a_mistake() -> None:
    with pytest.raises(Mistake) as refused:
        trained(Median(), 1, min_available_nodes=8, wait_seconds=0.1)
    assert str(refused.value) == "7 nodes are there after 0.1 s, not the 8 asked for"


@pytest.mark.parametrize("settings", [{"fraction_train": 0.0}, {"fraction_train": 1.1}, {"fraction_evaluate": -0.1}])
def test_shares_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(Mistake) as refused:
        RobustStrategy(Median(), **settings)
    assert str(refused.value) == "RobustStrategy: fraction_train must be in (0, 1] and fraction_evaluate in [0, 1]"


def test_a_strategy_can_be_started_again() -> None:
    grid = InProcessGrid.of(app, COUNT)
    strategy = RobustStrategy(CenteredClipping(radius=1.0), momentum=0.5, fraction_evaluate=0.0)
    torch.manual_seed(0)
    first = ArrayRecord(network().state_dict())
    ends = [strategy.start(grid, first, 2, train_config=ConfigRecord({"lr": 0.3})).arrays for _ in range(2)]
    assert ends[0] == ends[1]
    assert len(strategy.rounds) == 2
    assert LIAR in strategy.rounds[0].clients
