"""Tables: names, the user's own classes, settings and their bounds, each refusal verbatim."""

from dataclasses import dataclass, field

import pytest

from fedsim.domain import Count, Mistake, Positive, Share
from fedsim.tables import Field, Settings, Table, did_you_mean, fields, first_line

ENTRIES = {"krum": f"{__name__}:Mine", "multi_krum": f"{__name__}:Other", "later": "no.such.module:Thing"}
TABLE = Table("rule", ENTRIES)


@dataclass(frozen=True)
class Mine(Settings):
    """Something of one's own.

    More words.
    """

    needed: Count
    rate: Positive = 0.5
    share: Share | None = None
    label: str = "a"
    widths: tuple[int, ...] = field(default_factory=lambda: (1, 2))
    derived: int = field(init=False, default=0)


@dataclass(frozen=True)
class Other(Settings):
    pass


class Plain:
    """No dataclass."""


def refusal(name, table=TABLE):
    with pytest.raises(Mistake) as refused:
        table.load(name)
    return str(refused.value)


def test_loads_an_entry_by_name():
    assert TABLE.load("krum") is Mine


def test_imports_nothing_until_asked_for():
    with pytest.raises(ModuleNotFoundError):
        TABLE.load("later")


def test_loads_a_class_of_ones_own():
    assert Table("rule", {}).load(f"{__name__}:Mine") is Mine


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("krim", "unknown rule 'krim' (did you mean 'krum'?); known: krum, later, multi_krum"),
        (
            "multikrum",
            "unknown rule 'multikrum' (did you mean 'multi_krum'?); known: krum, later, multi_krum",
        ),
        ("zzz", "unknown rule 'zzz'; known: krum, later, multi_krum"),
        ("", "unknown rule ''; known: krum, later, multi_krum"),
        ("nowhere_at_all:Rule", "cannot import rule 'nowhere_at_all:Rule': No module named 'nowhere_at_all'"),
        (f"{__name__}:Absent", f"no such rule: module '{__name__}' has no attribute 'Absent'"),
        (f"{__name__}:Plain", f"rule '{__name__}:Plain' must be a dataclass; its fields are its settings"),
        (f"{__name__}:TABLE", f"rule '{__name__}:TABLE' must be a dataclass; its fields are its settings"),
        (":Rule", "rule ':Rule' is not of the form \"package.module:Class\""),
        (".near:Rule", "rule '.near:Rule' is not of the form \"package.module:Class\""),
        ("rules.py:My Rule", "rule 'rules.py:My Rule' is not of the form \"package.module:Class\""),
        ("my/rules:Rule", "rule 'my/rules:Rule' is not of the form \"package.module:Class\""),
        ("rules:", "rule 'rules:' is not of the form \"package.module:Class\""),
        ("rules:A:B", "rule 'rules:A:B' is not of the form \"package.module:Class\""),
    ],
)
def test_refuses_a_name(name, sentence):
    assert refusal(name) == sentence


def test_a_table_without_entries_says_so():
    assert refusal("krum", Table("rule", {})) == "unknown rule 'krum'; known: none"


def test_did_you_mean_names_the_nearest():
    assert did_you_mean("epsilom", ["epsilon", "clients"]) == (" (did you mean 'epsilon'?); known: clients, epsilon")
    assert did_you_mean("x", []) == "; known: none"


def test_fields_are_those_of_the_class():
    needed, rate, share, label, widths = fields(Mine)
    assert needed == Field("needed", Count, needed.default, required=True)
    assert (rate.name, rate.type, rate.default, rate.required) == ("rate", Positive, 0.5, False)
    assert (share.default, label.default, widths.default) == (None, "a", (1, 2))
    assert not any(entry.required for entry in (rate, share, label, widths))


def test_first_line_is_that_of_the_docstring():
    assert first_line(Mine) == "Something of one's own."


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"needed": -1}, "Mine.needed: -1 is out of range; must be at least 0"),
        ({"needed": 0, "rate": 0.0}, "Mine.rate: 0.0 is out of range; must be greater than 0"),
        ({"needed": 0, "rate": float("nan")}, "Mine.rate: nan is out of range; must be greater than 0"),
        ({"needed": 0, "share": 1.5}, "Mine.share: 1.5 is out of range; must be at most 1"),
        ({"needed": 0, "share": -0.5}, "Mine.share: -0.5 is out of range; must be at least 0"),
    ],
)
def test_bounds_hold_on_direct_construction(settings, sentence):
    with pytest.raises(Mistake) as refused:
        Mine(**settings)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "settings", [{"needed": 0}, {"needed": 7, "rate": 1e-9, "share": 1.0}, {"needed": 1, "share": 0}]
)
def test_bounds_are_inclusive_where_they_say_so(settings):
    Mine(**settings)
