"""What the README says of Flower's own strategies, so that it stays true; and that ours does otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import strategy as flowers
from flwr.serverapp.strategy import Strategy

from fedsim.domain import Mistake
from fedsim.seeds import stream
from strategies import Bulyan, Krum, Mean, Median, MultiKrum, RobustStrategy, TrimmedMean
from tests.flower.echoes import COUNT, stranger, stranger_arrays
from tests.flower.faults import CASES, metrics
from tests.flower.grids import Fault, InProcessGrid

BUILT_IN = {
    "FedAvg": (flowers.FedAvg(), Mean()),
    "FedMedian": (flowers.FedMedian(), Median()),
    "FedTrimmedAvg": (flowers.FedTrimmedAvg(), TrimmedMean(2)),
    "Krum": (flowers.Krum(num_malicious_nodes=2), Krum(2)),
    "MultiKrum": (flowers.MultiKrum(num_malicious_nodes=2, num_nodes_to_select=3), MultiKrum(2, 3)),
    "Bulyan": (flowers.Bulyan(num_malicious_nodes=2), Bulyan(2)),
}
"""Each of Flower's robust strategies, and our rule for it."""


def after(strategy: Strategy, faults: dict[int, Fault], rounds: int = 1) -> np.ndarray:
    """The model after a stranger's run."""
    grid = InProcessGrid.of(stranger(), COUNT, faults=faults)
    result = strategy.start(grid, stranger_arrays(), rounds)
    return np.concatenate([array.numpy().reshape(-1) for array in result.arrays.values()])


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("case", ["extra array", "missing array", "renamed record", "one entry short", "garbage"])
def test_one_bad_reply_ends_a_run_of_flowers_strategies_and_not_ours(case: str, name: str) -> None:
    theirs, rule = BUILT_IN[name]
    faults = {4: CASES[case].fault}
    try:
        after(theirs, faults)
    except Exception:
        pass
    else:
        pytest.fail(f"{name} lives with {case}: the README says that it raises")
    assert np.isfinite(after(RobustStrategy(rule), faults, 2)).all()


@pytest.mark.parametrize("name", ["FedAvg", "FedMedian"])
def test_one_value_that_is_no_number_is_enough_for_flowers_mean_and_median(name: str) -> None:
    theirs, rule = BUILT_IN[name]
    faults = {4: CASES["not a number"].fault}
    assert np.isnan(after(theirs, faults)).any()
    assert np.isfinite(after(RobustStrategy(rule), faults)).all()


@pytest.mark.parametrize("claim", [10**9, -127 - 10**6])
def test_a_forged_count_takes_over_flowers_mean(claim: int) -> None:
    faults = {4: metrics({"num-examples": claim})}
    honest = after(RobustStrategy(Mean()), {})
    assert np.abs(after(flowers.FedAvg(), faults) - honest).max() > 0.3
    assert np.array_equal(after(RobustStrategy(Mean()), faults), honest)


# Krum on raw weights.

D = 1000
NODES, BYZANTINE = 9, 2


def far_from_zero(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A model whose weights are about 100, and what clients make of it: changes of about 1e-4."""
    rng = stream(seed, "far from zero")
    params = (100 * rng.standard_normal(D)).astype(np.float32)
    spreads = 1e-4 * (1 + rng.random((NODES, 1)))
    return params, params + (spreads * rng.standard_normal((NODES, D))).astype(np.float32)


def by_definition(models: np.ndarray) -> int:
    """The client that Krum picks, in float64 and without a Gram matrix."""
    wide = models.astype(np.float64)
    distances = ((wide[:, None] - wide[None]) ** 2).sum(axis=2)
    neighbours = NODES - BYZANTINE - 2
    return int(np.sort(distances, axis=1)[:, 1 : neighbours + 1].sum(axis=1).argmin())


def picked(strategy: Strategy, params: np.ndarray, models: np.ndarray) -> int:
    """The client whose model the strategy made its own."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = ArrayRecord({"w": Array(models[int(context.node_config["partition-id"])])})
        return Message(RecordDict({"arrays": arrays, "m": MetricRecord({"num-examples": 1})}), reply_to=message)

    grid = InProcessGrid.of(app, NODES)
    result = strategy.start(grid, ArrayRecord({"w": Array(params)}), 1).arrays
    assert result is not None
    (client,) = np.flatnonzero((result["w"].numpy() == models).all(axis=1))
    return int(client)


def test_flowers_krum_picks_the_wrong_client_where_ours_picks_the_right_one() -> None:
    wrong = 0
    for seed in range(30):
        params, models = far_from_zero(seed)
        right = by_definition(models)
        assert picked(RobustStrategy(Krum(BYZANTINE), fraction_evaluate=0.0), params, models) == right
        theirs = flowers.Krum(num_malicious_nodes=BYZANTINE, fraction_evaluate=0.0)
        wrong += picked(theirs, params, models) != right
    assert wrong >= 15


def test_where_weights_are_small_they_agree() -> None:
    for seed in range(10):
        params, models = far_from_zero(seed)
        models = (models - params) * 1e4
        right = by_definition(models)
        zeros = np.zeros_like(params)
        assert picked(RobustStrategy(Krum(BYZANTINE), fraction_evaluate=0.0), zeros, models) == right
        assert picked(flowers.Krum(num_malicious_nodes=BYZANTINE, fraction_evaluate=0.0), zeros, models) == right


def test_flowers_krum_takes_more_byzantine_clients_than_its_paper_allows() -> None:
    assert np.isfinite(after(flowers.Krum(num_malicious_nodes=5), {})).all()
    with pytest.raises(Mistake, match="krum refuses n = 12"):
        after(RobustStrategy(Krum(5), max_skipped=1), {})
