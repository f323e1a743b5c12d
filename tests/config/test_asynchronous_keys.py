"""The keys of asynchronous updating: what is refused, what the user is told, and what clients are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedsim.build import TABLES, check, client_settings, experiment, rule_of
from fedsim.build.roles import watched
from fedsim.config import Config, read, to_toml
from fedsim.config.reading import read_text
from fedsim.domain import Mistake
from fedsim.training import lookaheads

WATCHING = "tests.engine.watching:Trailing"
EPOCHS = "lookahead_every counts steps: set steps, not epochs"
MOVES = 'moving_rate belongs to clients that train: set algorithm = "fedavg", or leave it out'


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A configuration that leaves everything out but a rule that watches."""
    path = tmp_path / "a.toml"
    path.write_text(f'[strategy]\nname = "{WATCHING}"\n[training]\nsteps = 4\n', encoding="utf-8")
    return path


def told(path: Path, *overrides: str) -> Config:
    """The configuration with these overrides."""
    return read(path, overrides, TABLES).config


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["training.epochs=2", "training.lookahead_every=1"], f"training: {EPOCHS}"),
        (["training.lookahead_every=-1"], "training.lookahead_every: -1 is out of range; must be at least 0"),
        (["training.lookahead_every=1.5"], "training.lookahead_every: expected an integer, got 1.5"),
        (["training.moving_rate=0"], "training.moving_rate: 0 is out of range; must be greater than 0.0"),
        (["training.moving_rate=-0.5"], "training.moving_rate: -0.5 is out of range; must be greater than 0.0"),
        (["training.moving_rate=1.01"], "training.moving_rate: 1.01 is out of range; must be at most 1.0"),
        (["training.moving_rate=nan"], "training.moving_rate: expected a finite number, got NaN"),
        (["training.moving_rate=half"], "training.moving_rate: expected a number, got 'half'"),
        (["training.algorithm=fedsgd", "training.steps=1", "training.moving_rate=0.5"], f"training: {MOVES}"),
        (["attack.late=1"], "attack.late: expected true or false, got 1"),
    ],
)
def test_refuses(empty: Path, overrides: list[str], sentence: str) -> None:
    with pytest.raises(Mistake) as mistake:
        told(empty, *overrides)
    assert str(mistake.value) == f"command line: {sentence}"


@pytest.mark.parametrize(
    "overrides",
    [
        ["training.epochs=2"],
        ["training.epochs=2", "training.lookahead_every=0"],
        ["training.epochs=2", "training.moving_rate=0.1"],
        ["training.algorithm=fedsgd", "training.steps=1", "training.moving_rate=1.0"],
        ["training.algorithm=fedsgd", "training.steps=1", "training.lookahead_every=1"],
        ["training.lookahead_every=99", "training.moving_rate=1e-9"],
    ],
    ids=" ".join,
)
def test_allows_and_writes_down(empty: Path, overrides: list[str]) -> None:
    config = told(empty, *overrides)
    assert read_text(to_toml(config), "again", {}, TABLES).model_dump() == config.model_dump()


def test_another_length_on_the_command_line_does_not_hide_the_mistake(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[training]\nsteps = 4\nlookahead_every = 2\n", encoding="utf-8")
    with pytest.raises(Mistake, match=EPOCHS):
        told(path, "training.epochs=2")


def sees_one(above: int) -> str:
    """What is said of a rule that could watch."""
    return f"note: {WATCHING} sees one upload a round: for lookahead uploads set training.steps above {above}"


UNSEEN = "note: training.lookahead_every: mean watches no lookahead uploads; none are made"
IDLE = "note: attack.late changes nothing: there are no lookahead uploads"
INSIDE = "note: romoa inside nnm watches no lookahead uploads: it sees one a round"
LATE = ["attack.name=ipm", "attack.clients=2", "attack.late=true"]


@pytest.mark.parametrize(
    ("overrides", "notes"),
    [
        ([], []),
        (["training.lookahead_every=3"], []),
        (["training.lookahead_every=0"], []),
        (["training.lookahead_every=4"], [sees_one(4)]),
        (["training.steps=1"], [sees_one(1)]),
        (["training.epochs=3"], [sees_one(1)]),
        (["training.steps=1", "training.lookahead_every=0"], []),
        (["strategy={name='mean'}"], []),
        (["strategy={name='mean'}", "training.lookahead_every=2"], [UNSEEN]),
        (["strategy={name='mean'}", "training.lookahead_every=0"], []),
        (["strategy={name='nnm', byzantine=1, rule={name='romoa'}}"], [INSIDE]),
        (LATE, []),
        ([*LATE, "training.lookahead_every=0"], [IDLE]),
        ([*LATE, "training.steps=1"], [sees_one(1), IDLE]),
        ([*LATE, "strategy={name='mean'}"], [IDLE]),
        ([*LATE, "strategy={name='mean'}", "training.lookahead_every=2"], [UNSEEN, IDLE]),
    ],
    ids=lambda value: " ".join(value) if value else "",
)
def test_notes(empty: Path, overrides: list[str], notes: list[str]) -> None:
    assert check(told(empty, *overrides)) == notes


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], (1, 2, 3)),
        (["training.lookahead_every=2"], (2,)),
        (["training.lookahead_every=0"], ()),
        (["training.epochs=2"], ()),
        (["training.algorithm=fedsgd", "training.steps=1"], ()),
        (["strategy={name='mean'}"], ()),
        (["strategy={name='mean'}", "training.lookahead_every=2"], ()),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_clients_can_read_what_they_are_told(empty: Path, overrides: list[str], expected: tuple[int, ...]) -> None:
    config = told(empty, *overrides)
    settings = client_settings(watched(config, rule_of(config)))
    assert WATCHING not in settings
    assert lookaheads(read_text(settings, "the server's settings", {}, TABLES).training) == expected


# Lookahead uploads that take much memory.

LARGE: dict[str, Any] = {
    "model": {"name": "mlp", "hidden": [1000, 1000]},
    "clients": {"count": 100},
    "training": {"steps": 11},
    "strategy": {"name": WATCHING},
}
SIZE = 64 * 8 + 8 + 8 * 10 + 10
BYTES = 4 * 10 * 11 * SIZE
"""Of ten clients' eleven lookahead uploads of the small net."""


def built(monkeypatch: pytest.MonkeyPatch, much: int | None, **sections: Any) -> None:
    """Build a small experiment where so many bytes are not much."""
    if much is not None:
        monkeypatch.setattr(sys.modules["fedsim.build.experiment"], "MUCH", much)
    small = {**LARGE, "model": {"name": "mlp", "hidden": [8]}, "clients": {"count": 10}, "training": {"steps": 12}}
    experiment(read_text(tomli_w.dumps({**small, **sections}), "test", {}, TABLES))


def refusal(monkeypatch: pytest.MonkeyPatch, much: int | None, **sections: Any) -> str:
    """Why it is not built."""
    with pytest.raises(Mistake) as mistake:
        built(monkeypatch, much, **sections)
    return str(mistake.value)


def test_much_is_refused_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    built(monkeypatch, BYTES)
    assert refusal(monkeypatch, BYTES - 1) == (
        "training.lookahead_every: 11 lookahead uploads of 10 clients take 0.0 GB; "
        "set it to 1 for them all, higher for fewer, or to 0 for none"
    )
    for every in (0, 1, 5):
        built(monkeypatch, BYTES - 1, training={"steps": 12, "lookahead_every": every})
    built(monkeypatch, 0, training={"epochs": 2})
    built(monkeypatch, 0, training={"steps": 1})
    built(monkeypatch, 0, strategy={"name": "mean"})
    built(monkeypatch, BYTES // 5, clients={"count": 10, "per_round": 2})


def test_two_gibibytes_are_much(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sys.modules["fedsim.build.experiment"].MUCH == 2 << 30
    # 10 times 100 times 65,000 + 1,001,000 + 10,010 numbers of 4 bytes each.
    assert refusal(monkeypatch, None, **LARGE) == (
        "training.lookahead_every: 10 lookahead uploads of 100 clients take 4.3 GB; "
        "set it to 1 for them all, higher for fewer, or to 0 for none"
    )
