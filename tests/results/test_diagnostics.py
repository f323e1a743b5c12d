"""What a rule saw: a row for each number, kept over an interruption, and drawn in the report."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
import torch

from fedsim.config import Config
from fedsim.domain import Round
from fedsim.results import diagnostics
from fedsim.results.figures import sights
from fedsim.results.folder import RunFolder


def played(number: int = 3, **figures: torch.Tensor) -> Round:
    return Round(number, (4, 7, 9), (7,), True, (), None, {"accuracy": 0.5}, figures, shown=(4, 7))


def test_a_row_for_each_number() -> None:
    likeness = torch.tensor([[0.5, torch.nan]])
    factor = torch.arange(8.0).view(1, 2, 2, 2)
    found = diagnostics.table(played(likeness=likeness, factor=factor)).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        (3, "factor", 0, 4, 0, 0, 0.0),
        (3, "factor", 0, 4, 0, 1, 1.0),
        (3, "factor", 0, 4, 1, 0, 2.0),
        (3, "factor", 0, 4, 1, 1, 3.0),
        (3, "factor", 0, 7, 0, 0, 4.0),
        (3, "factor", 0, 7, 0, 1, 5.0),
        (3, "factor", 0, 7, 1, 0, 6.0),
        (3, "factor", 0, 7, 1, 1, 7.0),
        (3, "likeness", 0, 4, None, None, 0.5),
        (3, "likeness", 0, 7, None, None, None),
    ]
    assert list(found[0]) == list(diagnostics.COLUMNS)


def test_later_rounds_are_left_out() -> None:
    tables = [diagnostics.table(played(number, likeness=torch.ones(1, 2))) for number in (1, 2, 3)]
    assert diagnostics.until(pyarrow.concat_tables(tables), 2)["round"].to_pylist() == [1, 1, 2, 2]


def test_a_rule_that_says_nothing_leaves_no_file_and_no_picture(tmp_path: Path) -> None:
    folder = RunFolder.of(Config(), tmp_path)
    folder.path.mkdir(parents=True)
    folder.rows.append({})
    folder.flush()
    assert folder.diagnostics() is None
    assert sights(folder, [7]) == ""


@pytest.mark.parametrize("attackers", [[7], []])
def test_the_picture_has_a_panel_for_each_figure(tmp_path: Path, attackers: list[int]) -> None:
    folder = RunFolder.of(Config(), tmp_path)
    folder.path.mkdir(parents=True)
    folder.seen.append(diagnostics.table(played(likeness=torch.ones(1, 2), other=torch.full((1, 2), torch.nan))))
    folder.flush()
    assert sights(folder, attackers).count('id="axes_') == 2
