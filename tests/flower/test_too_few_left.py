"""Rounds in which bad replies leave too few uploads: skipped, made good by the next, and too many of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from flwr.app import ConfigRecord

from fedsim.app import trusting
from fedsim.display import Display
from fedsim.domain import Mistake
from fedsim.engine.enrolment import Enrolment
from fedsim.experiment import run
from strategies import Bulyan, Krum, Median, RobustStrategy
from tests.flower.both_ways import carrier_round, strategy_rounds
from tests.flower.echoes import COUNT, START, stranger, stranger_arrays
from tests.flower.faults import CASES, filled
from tests.flower.federations import configured
from tests.flower.grids import InProcessGrid

TOO_FEW = dict.fromkeys((0, 1), CASES["garbage"].fault)


def krum_refusal() -> str:
    """What Krum says of ten uploads when it fears four."""
    with pytest.raises(Mistake) as refused:
        Krum(4).require(COUNT - 2)
    return str(refused.value)


def test_a_round_with_too_few_left_changes_nothing_on_the_carrier() -> None:
    params, record = carrier_round(Krum(4), TOO_FEW)
    assert record.skipped == krum_refusal()
    assert torch.equal(params, torch.from_numpy(START))
    assert [drop.client for drop in record.dropped] == [0, 1]


def test_a_round_with_too_few_left_changes_nothing_in_a_strangers_app() -> None:
    strategy = RobustStrategy(Krum(4))
    params, (record,), grid = strategy_rounds(strategy, TOO_FEW)
    assert record.skipped == krum_refusal()
    assert torch.equal(params, torch.from_numpy(START))
    strategy = RobustStrategy(Krum(4))
    grid = InProcessGrid.of(stranger(), COUNT, faults=dict(TOO_FEW))
    result = strategy.start(grid, stranger_arrays(), 1)
    assert (result.train_metrics_clientapp[1]["skipped"], result.train_metrics_clientapp[1]["dropped"]) == (1, 2)


def test_a_skipped_round_is_made_good_by_the_next() -> None:
    strategy = RobustStrategy(Krum(4))
    grid = InProcessGrid.of(stranger(), COUNT, faults=dict(TOO_FEW))
    arrays, config = stranger_arrays(), ConfigRecord()
    for number in (1, 2, 3):
        grid.faults = dict(TOO_FEW) if number == 2 else {}
        found, _ = strategy.aggregate_train(
            number, grid.send_and_receive(strategy.configure_train(number, arrays, config, grid))
        )
        assert (found is None) == (number == 2)
        arrays = found or arrays
    assert [record.skipped is None for record in strategy.rounds] == [True, False, True]


def test_too_many_skipped_rounds_end_a_strangers_run() -> None:
    strategy = RobustStrategy(Krum(4), max_skipped=3)
    with pytest.raises(Mistake) as ended:
        strategy_rounds(strategy, TOO_FEW, rounds=9)
    assert str(ended.value) == f"3 rounds in a row were skipped, the last because: {krum_refusal()}"
    assert len(strategy.rounds) == 3


def test_a_round_without_a_single_reply_is_skipped() -> None:
    everyone = dict.fromkeys(range(COUNT), CASES["unreachable"].fault)
    _, record = carrier_round(Median(), everyone)
    assert record.skipped == "no usable upload is left"
    params, (record,), _ = strategy_rounds(RobustStrategy(Median()), everyone)
    assert record.skipped == "no usable upload is left"
    assert torch.equal(params, torch.from_numpy(START))


def test_too_many_skipped_rounds_stop_a_run_on_a_grid(tmp_path: Path) -> None:
    config = configured(rounds=9, server={"max_skipped": 2})
    faults = dict.fromkeys(range(11), CASES["raises"].fault)
    enrolment = Enrolment(InProcessGrid.of(trusting, 11, faults=faults), 11)
    summary = run(config, "small", tmp_path, False, Display(quiet=True), enrolment).summary()
    assert (summary["status"], summary["rounds"], summary["dropped_uploads"]) == ("stopped", 2, 22)
    assert summary["reason"] == "2 rounds in a row were skipped, the last because: no usable upload is left"


def test_faults_of_real_clients_leave_the_others_work(tmp_path: Path) -> None:
    config = configured(strategy={"name": "bulyan", "byzantine": 2})
    faults = {3: filled(float("nan"))}
    enrolment = Enrolment(InProcessGrid.of(trusting, 11, faults=faults), 11)
    folder = run(config, "small", tmp_path, False, Display(quiet=True), enrolment)
    with pytest.raises(Mistake):
        Bulyan(2).require(10)
    assert folder.summary()["skipped_rounds"] == 3
    assert [row["dropped"] for row in folder.rows] == [1, 1, 1]
