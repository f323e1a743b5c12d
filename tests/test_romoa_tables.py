"""The Romoa study: what is played can be played, and the bars are judged as they are meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.romoa.bars import Bar, bars, judged, mildest, worst
from experiments.romoa.cells import Found, config_of, play
from experiments.romoa.suites import RULES, Cell, cells
from experiments.romoa.tables import tables
from fedsim.build import check


def cell(rule: str, attack: str, seed: int, attackers: int = 4) -> Cell:
    return Cell("digits", "iid", 10, attackers, rule, attack, seed)


@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10"])
def test_every_cell_is_a_configuration_that_holds_together(data: str) -> None:
    for it in cells(data, 1):
        config = config_of(it, None)
        check(config)
        assert (config.clients.count, config.attack.clients) == (it.clients, it.attackers)


def test_cells_are_as_many_as_the_tables_have() -> None:
    found = cells("digits", 3)
    assert len(found) == len(set(found))
    assert {it.rule for it in found} == set(RULES)
    assert {(it.clients, it.attackers) for it in found if it.rule == "romoa"} >= {
        *((10, f) for f in (0, 1, 3, 4)),
        *((20, f) for f in (0, 1, 6, 9)),
    }


def test_a_cell_is_played() -> None:
    found = play(cell("romoa", "boost 10", 0, attackers=1), None)
    assert found.error_rate < 0.1
    assert found.target_confidence is not None
    assert found.target_confidence < 0.05


DONE = {
    cell("romoa", "fang", 0): Found(0.05, None),
    cell("romoa", "sign 30", 0): Found(0.07, None),
    cell("romoa", "fang", 1): Found(0.12, None),
    cell("romoa", "exact", 1): Found(0.9, 0.25),
}


def test_the_worst_and_the_mildest_are_taken_over_seeds_each_at_its_worst_attack() -> None:
    assert worst(DONE, "romoa", 4, ["fang", "sign 30"]) == 0.12
    assert mildest(DONE, "romoa", 4, ["fang", "sign 30"]) == 0.07
    # A targeted attack is measured by what it wants.
    assert worst(DONE, "romoa", 4, ["exact"]) == 0.25
    assert worst(DONE, "romoa", 3, ["fang"]) is None


def test_bars_say_what_holds() -> None:
    assert Bar("", 0.1, 0.1).holds
    assert not Bar("", 0.11, 0.1).holds
    assert Bar("", 0.8, 0.8, least=True).holds
    assert not Bar("", 0.79, 0.8, least=True).holds
    found = {bar.what: bar.holds for bar in bars(DONE)}
    assert found["romoa, UPA by 4 of 10: error"] is False
    assert found["romoa, UPA by 1 of 10: error"] is None
    assert "DOES NOT HOLD" in judged(list(bars(DONE)))


def test_the_table_shows_mean_and_worst() -> None:
    assert "| romoa |  | 0.10 (0.12) | 0.25 (0.25) |" in tables(DONE)


def test_the_figures_are_drawn_of_what_was_played(tmp_path: Path) -> None:
    from experiments.romoa.curves import Curves
    from experiments.romoa.figures import PANELS, draw

    pairs = {pair for _, _, shown in PANELS for pair in shown}
    curves = Curves((0, 2), ((0.1, 0.1, float("nan"), float("nan")), (0.9, 0.95, 0.8, 0.05)))
    draw(tmp_path / "f.svg", {cell(*pair, seed=0): curves for pair in pairs}, "a title", "how it was made")
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").count('id="axes_') == len(PANELS)


def test_curves_tell_the_true_label_from_the_poisoned() -> None:
    from experiments.romoa.curves import FIGURES, play

    found = play(cell("romoa", "boost 10", 0, attackers=1), None)
    accuracy, trained, true, poisoned = found.values[-1]
    assert len(FIGURES) == 4
    assert found.rounds[-1] == 60
    assert min(accuracy, trained, true) > 0.8
    assert poisoned < 0.1
