"""``python -m experiments.attack_atlas`` plays every rule against every attack, and keeps what it has."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from clients import ATTACKS
from experiments.attack_atlas.cells import SETTINGS, Cell, Found, all_cells, known, place, play
from experiments.attack_atlas.picture import draw
from experiments.kept import Kept
from fedsim.domain import Mistake
from strategies import RULES

PLAYED = {
    Cell("krum", "none", 1): Found(0.875),
    Cell("krum", "tpa", 1): Found(0.5, 0.25, 0.125, skipped_rounds=2, refused="ended, after 2"),
    Cell("bulyan", "ipm", 2): Found(refused="strategy: bulyan refuses\nthis"),
}


def test_there_is_a_cell_for_each_rule_attack_and_seed() -> None:
    expected = {Cell(rule, attack, seed) for rule in RULES.entries for attack in ATTACKS.entries for seed in (1, 2)}
    cells = all_cells(2)
    assert len(cells) == len(expected)
    assert set(cells) == expected
    assert set(SETTINGS) <= set(RULES.entries)
    assert {cell.rule for cell in all_cells(1, ["krum"])} == {"krum"}
    with pytest.raises(Mistake, match="--only: no rule 'crumb'; known: mean, median"):
        all_cells(1, ["crumb"])


def test_what_is_refused_comes_back_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.attack_atlas.cells.FEARED", 3)
    found = play(Cell("bulyan", "none", 1), rounds=1)
    assert found.accuracy is None
    assert found.refused.startswith("strategy: bulyan refuses n = 11 uploads with byzantine = 3")


@pytest.mark.parametrize("rule", RULES.entries)
def test_every_rule_is_played_with_eleven_clients_two_of_them_malicious(rule: str) -> None:
    found = play(Cell(rule, "ipm", 1), rounds=1)
    assert found.refused == ""
    assert found.accuracy is not None
    assert found.attack_success_rate is None


def test_a_targeted_attack_has_its_success_measured() -> None:
    found = play(Cell("mean", "tpa", 1), rounds=1)
    assert found.attack_success_rate is not None
    assert found.target_confidence is not None


def table_in(path: Path, command: str = "", commit: str = "a", terms: str = "2 rounds") -> Kept[Cell, Found]:
    return Kept(path, Cell, Found, command, commit, terms, known, place)


def test_play_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = table_in(path, "the command")
    for cell, found in PLAYED.items():
        table.add(cell, found)
    with path.open("a", encoding="utf-8") as file:
        file.write("krum,ipm,1,0.5")
    assert table_in(path, "another command").done == PLAYED
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# another command"
    assert lines[1].startswith("# commit a, 20")
    header, *rows = csv.reader(lines[3:])
    assert header == [
        "rule",
        "attack",
        "seed",
        "accuracy",
        "attack_success_rate",
        "target_confidence",
        "skipped_rounds",
        "refused",
    ]
    assert rows[0][:3] == ["krum", "none", "1"]


@pytest.mark.parametrize(("commit", "terms"), [("b", "2 rounds"), ("a", "3 rounds")])
def test_cells_of_other_code_or_rounds_are_not_kept(tmp_path: Path, commit: str, terms: str) -> None:
    path = tmp_path / "table.csv"
    table_in(path).add(Cell("krum", "none", 1), Found(0.875))
    assert table_in(path, "", commit, terms).done == {}


def test_what_was_changed_since_its_commit_is_played_again(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table_in(path, commit="a+").add(Cell("krum", "none", 1), Found(0.875))
    assert table_in(path, commit="a+").done == {}


def test_the_picture_shows_means_and_what_is_missing(tmp_path: Path) -> None:
    draw(tmp_path / "heatmap.svg", PLAYED, "a title")
    text = (tmp_path / "heatmap.svg").read_text(encoding="utf-8")
    assert ">0.88<" in text
    assert ">0.50*<" in text
    assert ">(0.25)<" in text
