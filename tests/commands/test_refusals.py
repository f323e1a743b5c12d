"""Bad input: exit code 2, nothing but one clear sentence, verbatim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from clients.base import Malicious
from fedsim.domain import Knowledge
from strategies import RULES

RULE_NAMES = ", ".join(sorted(RULES.entries))


@dataclass(frozen=True)
class WhiteBox(Malicious):
    """An attack that must know the rule."""

    needs: ClassVar[Knowledge] = "rule"

    def __call__(self, view: object, rng: object) -> object:
        raise NotImplementedError


@dataclass(frozen=True)
class Hijacker(WhiteBox):
    """An attack whose field is a key that every attack has."""

    needs: ClassVar[Knowledge] = "own"
    stealth: float = 0.5


@dataclass(frozen=True)
class NoRule:
    """A dataclass that is no rule."""

    byzantine: int = 0


SENTENCES = {
    "unknown key": (
        ["attack.epsilom=3"],
        "command line: attack.epsilom: unknown key (did you mean 'epsilon'?); known: "
        "clients, epsilon, every, knowledge, late, name, probability, start, stealth, stealth_final, stop",
    ),
    "unknown section": (
        ["atack.epsilon=3"],
        "command line: atack: unknown key (did you mean 'attack'?); known: attack, clients, compare, data, engine, "
        "evaluation, model, name, objective, partition, rounds, seed, server, strategy, training",
    ),
    "unknown name": (
        ["strategy.name=krumm"],
        f"command line: strategy.name: unknown strategy 'krumm' (did you mean 'krum'?); known: {RULE_NAMES}",
    ),
    "wrong type": (["rounds=ten"], "command line: rounds: expected an integer, got 'ten'"),
    "a fraction for a count": (["rounds=2.5"], "command line: rounds: expected an integer, got 2.5"),
    "a truth for a count": (
        ["training.batch_size=true"],
        "command line: training.batch_size: expected an integer, got true",
    ),
    "one of two types": (["attack.clients=x"], "command line: attack.clients: expected an integer or a list, got 'x'"),
    "a name for a table": (
        ["strategy=krum"],
        "command line: strategy: expected a table with a name, such as strategy.name=krum, got 'krum'",
    ),
    "out of range": (["rounds=0"], "command line: rounds: 0 is out of range; must be at least 1"),
    "out of range in a list": (
        ["model.hidden=[8, 0]"],
        "command line: model.hidden.1: 0 is out of range; must be at least 1",
    ),
    "not a number": (
        ["training.learning_rate=nan"],
        "command line: training.learning_rate: expected a finite number, got NaN",
    ),
    "not a choice": (
        ["attack.knowledge=all"],
        "command line: attack.knowledge: 'all' is not allowed; known: honest, own, rule",
    ),
    "a name that is a path": (
        ["name=../x"],
        "command line: name: '../x' is not a name: letters, digits, '.', '_' and '-', beginning with a letter or digit",
    ),
    "two ways to choose": (
        ["clients.per_round=5", "clients.fraction=0.5"],
        "command line: clients: set per_round or fraction, not both",
    ),
    "missing key": (
        ["strategy.name=norm_clipping"],
        "small.toml: strategy.bound: missing; this key is required",
    ),
    "missing entry": (
        ["strategy.name=nnm", "strategy.byzantine=1"],
        f"small.toml: strategy.rule.name: missing; one of {RULE_NAMES}",
    ),
    "more attackers than clients": (
        ["attack.clients=12"],
        "small.toml: attack.clients: 12 attackers are more than the 10 clients there are",
    ),
    "an attacker that is no client": (
        ["attack.clients=[1, 10]"],
        "small.toml: attack.clients: no client 10; ids go from 0 to 9",
    ),
    "more chosen than clients": (
        ["clients.per_round=20"],
        "command line: clients: per_round = 20 is more than the 10 clients there are",
    ),
    "n and f that cannot hold": (
        ["strategy.name=krum", "strategy.byzantine=4"],
        "small.toml: strategy: krum refuses n = 10 uploads with byzantine = 4: "
        "it needs n >= 2 f + 3 = 11; at n = 10 the largest byzantine is 3",
    ),
    "knowledge": (
        ["attack.name=alie", "attack.clients=1", "attack.knowledge=own"],
        'small.toml: attack: alie needs knowledge "honest": it takes a spread from at least 2 updates, '
        "and its own clients are 1; granted: 'own'",
    ),
    "knowledge of an own class": (
        [f"attack.name={__name__}:WhiteBox"],
        f'small.toml: attack.knowledge: {__name__}:WhiteBox needs knowledge "rule"; granted: "honest"',
    ),
    "an own class that is no rule": (
        [f"strategy.name={__name__}:NoRule"],
        f"small.toml: strategy.name: '{__name__}:NoRule' is no strategy: it has no require, no init, no __call__",
    ),
    "an own class that is not there": (
        ["strategy.name=nowhere.rules:MyRule"],
        "command line: strategy.name: cannot import strategy 'nowhere.rules:MyRule': No module named 'nowhere'",
    ),
    "an own class that is no data set": (
        [f"data.name={__name__}:NoRule"],
        f"small.toml: data.name: '{__name__}:NoRule' is no data set: it has no load",
    ),
    "an own class inside another": (
        ["strategy.name=nnm", f"strategy.rule={{ name = '{__name__}:NoRule' }}"],
        f"small.toml: strategy.rule.name: '{__name__}:NoRule' is no strategy: it has no require, no init, no __call__",
    ),
    "an own attack with a common key": (
        [f"attack.name={__name__}:Hijacker"],
        f"small.toml: attack.name: '{__name__}:Hijacker' has a field 'stealth', a key of every attack",
    ),
    "an attack that never comes": (
        ["attack.start=50"],
        "small.toml: attack.start: round 50 never comes; the run has 3 rounds",
    ),
    "an attack that ends before it begins": (
        ["attack.start=3", "attack.stop=2"],
        "command line: attack: stop = 2 is before start = 3",
    ),
    "a cap on nothing": (
        ["server.weight_cap=5"],
        'command line: server: weight_cap caps claimed examples: set weighting = "examples", or leave it out',
    ),
    "no device": (
        ["engine.device=meta"],
        "command line: engine.device: 'meta' is no device; such as 'cpu', 'cuda' or 'cuda:1'",
    ),
    "a comparison named like the run": (
        ["compare.small.seed=7"],
        "command line: compare.small: is the experiment's own name; a label stands for one other run",
    ),
    "a comparison of a comparison": (
        ["compare.x.compare.y.seed=3"],
        "command line: compare.x: holds comparisons of its own; a label stands for one other run",
    ),
    "a comparison that cannot hold": (
        ["compare.x.strategy.name=krum", "compare.x.strategy.byzantine=4"],
        "small.toml: compare.x: strategy: krum refuses n = 10 uploads with byzantine = 4: "
        "it needs n >= 2 f + 3 = 11; at n = 10 the largest byzantine is 3",
    ),
    "no override": (["krum"], "command line: 'krum': expected key.path=value, such as strategy.name=krum"),
    "no value": (
        ["model.hidden=[8,"],
        "command line: model.hidden: '[8,' is not a TOML value; put quotes around a string",
    ),
    "missing data": (
        ["data.name=mnist"],
        "small.toml: data.root: no MNIST under 'data'; "
        "set data.download = true to fetch it, or data.root to where it lies",
    ),
    "a comparison": (
        ["compare.mean.strategy.nam=mean"],
        "command line: compare.mean.strategy.nam: unknown key (did you mean 'name'?); known: byzantine, name, trim",
    ),
}


@pytest.mark.parametrize("case", SENTENCES)
def test_bad_input_is_one_sentence(command: Callable[..., object], small: Path, case: str) -> None:
    arguments, sentence = SENTENCES[case]
    ended = command("run", small, *arguments)
    assert (ended.code, ended.err, ended.out) == (2, sentence + "\n", "")
    assert not Path("runs").exists()


def test_every_wrong_key_is_told_at_once(command: Callable[..., object], small: Path) -> None:
    ended = command("run", small, "rounds=0", "seed=-1")
    assert ended.err.splitlines() == [
        "command line: seed: -1 is out of range; must be at least 0",
        "command line: rounds: 0 is out of range; must be at least 1",
    ]


def test_the_file_is_named_where_the_file_is_wrong(command: Callable[..., object], small: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("rounds = 'ten'\n", encoding="utf-8")
    assert command("run", "wrong.toml").err == "wrong.toml: rounds: expected an integer, got 'ten'\n"


def test_a_missing_file(command: Callable[..., object], small: Path) -> None:
    ended = command("run", "smal.toml")
    assert (ended.code, ended.err) == (2, "smal.toml: no such file (did you mean 'small.toml'?)\n")


def test_a_broken_line(command: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("rounds = 3\nseed = = 4\n", encoding="utf-8")
    ended = command("run", "broken.toml")
    assert (ended.code, ended.err) == (2, "broken.toml: not valid TOML: Invalid value (at line 2, column 8)\n")


def test_a_folder_for_a_file(command: Callable[..., object], tmp_path: Path) -> None:
    ended = command("run", tmp_path)
    assert (ended.code, ended.err) == (2, f"{tmp_path}: cannot be read: Is a directory\n")


def test_an_empty_data_folder(command: Callable[..., object], small: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "train").mkdir(parents=True)
    ended = command("run", small, "data.name=folder", "data.root=pictures", "data.size=8")
    assert ended.code == 2
    assert ended.err == (
        "small.toml: data.root: no images under 'pictures/train'; "
        "expected pictures/train/<class>/*.png (or .jpg, .jpeg, .bmp, .webp)\n"
    )


def test_an_unwritable_run_folder(command: Callable[..., object], small: Path, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file", encoding="utf-8")
    ended = command("run", small, "--out", "occupied")
    assert ended.code == 2
    assert ended.err.startswith("--out: cannot write the run's folder occupied/small/")
    assert ended.err.endswith(": Not a directory\n")
    assert (tmp_path / "occupied").read_text(encoding="utf-8") == "a file"
