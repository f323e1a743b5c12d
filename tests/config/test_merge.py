"""Laying overrides over a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.build import TABLES
from fedsim.config import config_hash, read, to_toml
from fedsim.config.reading import merge
from fedsim.config.sections import ClientsSection
from fedsim.domain import Mistake

BASE = {
    "rounds": 5,
    "strategy": {"name": "trimmed_mean", "byzantine": 2, "trim": 3},
    "attack": {"name": "ipm", "epsilon": 3.0, "clients": 2, "stealth": 0.5},
    "compare": {"a": {"strategy": {"name": "mean"}}},
}


def merged(changes: dict[str, object]) -> dict[str, object]:
    return merge(BASE, changes, TABLES)[0]


def test_keys_change_one_by_one() -> None:
    assert merged({"attack": {"epsilon": 4.0}})["attack"] == {**BASE["attack"], "epsilon": 4.0}
    assert merged({"rounds": 9})["rounds"] == 9
    assert BASE["rounds"] == 5


def test_another_name_keeps_what_the_new_entry_knows() -> None:
    result, notes = merge(BASE, {"strategy": {"name": "krum"}, "attack": {"name": "alie"}}, TABLES)
    assert result["strategy"] == {"name": "krum", "byzantine": 2}
    assert result["attack"] == {"name": "alie", "clients": 2, "stealth": 0.5}
    assert notes == ["strategy.trim: left out, krum has no such key", "attack.epsilon: left out, alie has no such key"]


def test_what_stands_in_the_change_is_kept_even_if_unknown() -> None:
    # The reader then refuses it, rather than letting a typing error fall away.
    result, notes = merge(BASE, {"strategy": {"name": "krum", "trim": 1}}, TABLES)
    assert result["strategy"] == {"name": "krum", "byzantine": 2, "trim": 1}
    assert notes == []


def test_the_same_name_keeps_everything() -> None:
    assert merged({"strategy": {"name": "trimmed_mean"}})["strategy"] == BASE["strategy"]


def test_another_nested_entry_starts_afresh() -> None:
    base = {"strategy": {"name": "nnm", "byzantine": 1, "rule": {"name": "trimmed_mean", "byzantine": 1, "trim": 2}}}
    changed, _ = merge(base, {"strategy": {"rule": {"name": "krum", "byzantine": 1}}}, TABLES)
    assert changed["strategy"]["rule"] == {"name": "krum", "byzantine": 1}
    kept, _ = merge(base, {"strategy": {"rule": {"byzantine": 0}}}, TABLES)
    assert kept["strategy"]["rule"] == {"name": "trimmed_mean", "byzantine": 0, "trim": 2}


def test_an_empty_table_takes_everything_away() -> None:
    assert merged({"compare": {}})["compare"] == {}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text('name = "a"\n[strategy]\nname = "krum"\nbyzantine = 1\n', encoding="utf-8")
    return path


def test_bare_words_are_strings_and_toml_values_are_themselves(written: Path) -> None:
    config = read(
        written, ["model.hidden=[3, 4]", "data.name=digits", "seed=3", "training.learning_rate=1e-2"], TABLES
    ).config
    assert config.model.model_dump() == {"name": "mlp", "hidden": (3, 4), "activation": "relu"}
    assert (config.seed, config.training.learning_rate) == (3, 0.01)


def test_the_resolved_configuration_reads_back_as_the_same(written: Path, tmp_path: Path) -> None:
    config = read(written, ["attack.clients=[1, 2]", "compare.b.seed=4"], TABLES).config
    (tmp_path / "b.toml").write_text(to_toml(config), encoding="utf-8")
    again = read(tmp_path / "b.toml", [], TABLES).config
    assert again.model_dump() == config.model_dump()
    assert config_hash(again) == config_hash(config)


def test_the_hash_tells_configurations_apart(written: Path) -> None:
    plain = config_hash(read(written, [], TABLES).config)
    assert plain == config_hash(read(written, ["seed=0", "rounds=50"], TABLES).config)
    assert plain != config_hash(read(written, ["seed=1"], TABLES).config)
    assert plain != config_hash(read(written, ["strategy.byzantine=2"], TABLES).config)


def test_comparisons_differ_where_they_say_so(written: Path) -> None:
    reading = read(written, ["compare.b.seed=4", "compare.c.strategy.name=mean"], TABLES)
    assert reading.compared["b"].seed == 4
    assert reading.compared["b"].strategy.name == "krum"
    assert reading.compared["c"].strategy.model_dump() == {"name": "mean"}
    assert reading.compared["b"].compare == {}


@pytest.mark.parametrize(
    ("section", "chosen"),
    [
        ({"count": 10}, 10),
        ({"count": 10, "per_round": 3}, 3),
        ({"count": 10, "fraction": 0.26}, 3),
        ({"fraction": 0.01}, 1),
    ],
)
def test_how_many_clients_a_round_takes(section: dict[str, object], chosen: int) -> None:
    assert ClientsSection.model_validate(section).chosen == chosen


def test_overrides_go_in_order_and_names_first(written: Path) -> None:
    config = read(written, ["strategy.byzantine=3", "strategy={ name = 'median' }"], TABLES).config
    assert config.strategy.model_dump() == {"name": "median", "byzantine": 3}
    cleared = read(written, ["model.hidden=[3]", "model={}", "model.activation=tanh"], TABLES).config
    assert cleared.model.model_dump() == {"name": "mlp", "hidden": (64,), "activation": "tanh"}


def test_one_key_of_a_pair_replaces_the_other(tmp_path: Path) -> None:
    (tmp_path / "steps.toml").write_text("[training]\nsteps = 4\n[clients]\nper_round = 3\n", encoding="utf-8")
    config = read(tmp_path / "steps.toml", ["training.epochs=2", "clients.fraction=0.5"], TABLES).config
    assert (config.training.steps, config.training.epochs) == (None, 2)
    assert (config.clients.per_round, config.clients.fraction) == (None, 0.5)


def test_a_value_that_is_no_toml(written: Path) -> None:
    with pytest.raises(Mistake, match="put quotes around a string"):
        read(written, ["name=a b"], TABLES)
