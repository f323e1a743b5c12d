"""Untargeted poisoning in the forms that the Romoa paper tries: by hand, by definition, by promise, by refusal."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import crowd, refusal_of, rng, steady, view

from clients.alie import ALittleIsEnough
from clients.fang import Fang
from clients.upa import UntargetedPoisoning
from fedsim.domain import Mistake
from strategies import Bulyan, GeometricMedian, Krum, Mean, Median, MultiKrum, TrimmedMean

HONEST = [[3.0, 4.0], [0.0, 2.0], [6.0, -9.0], [-1.0, 7.0]]


def test_opposite_by_hand():
    # mean (2, 1), times -3
    assert UntargetedPoisoning()(view([[9, 9]], HONEST), rng()).tolist() == [[-6, -3]]


def test_sign_by_hand():
    # norms 5, 2, sqrt(117), sqrt(50): their median is (5 + sqrt(50)) / 2, times 2 / sqrt(2); signs (+, +)
    forged = UntargetedPoisoning(form="sign", scale=2.0)(view([[9, 9]], HONEST), rng())
    assert forged.tolist() == [pytest.approx([-(2**0.5) * (5 + 50**0.5) / 2] * 2)]


@steady
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 50), st.integers(0, 2**32))
def test_by_definition(f, h, d, scale, seed):
    honest = np.random.default_rng(seed).normal(size=(h, d)).astype(np.float32)
    shown = view(torch.zeros(f, d), torch.from_numpy(honest))
    mean = [sum(column) / h for column in honest.T.astype(float).tolist()]
    norms = sorted(sum(x * x for x in row) ** 0.5 for row in honest.astype(float).tolist())
    middle = (norms[(h - 1) // 2] + norms[h // 2]) / 2
    for row in UntargetedPoisoning(form="opposite", scale=scale)(shown, rng()).tolist():
        np.testing.assert_allclose(row, [-scale * m for m in mean], rtol=1e-4, atol=1e-5 * scale)
    for row in UntargetedPoisoning(form="sign", scale=scale)(shown, rng()).tolist():
        np.testing.assert_allclose(row, [-scale * middle / d**0.5 * np.sign(m) for m in mean], rtol=1e-4)
        assert sum(x * x for x in row) ** 0.5 == pytest.approx(scale * middle, rel=1e-4)


@pytest.mark.parametrize(("n", "f"), [(10, 1), (10, 4), (5, 2)])
def test_the_mean_stands_still_where_the_scale_cancels_it(n, f):
    """The promise: maximal against averaging; at (n - f) / f nothing of the honest step is left."""
    honest = torch.randn(n - f, 6, generator=torch.Generator().manual_seed(n)) + 1
    for factor, expected in ((1.0, 0.0), (3.0, -2.0)):
        attack = UntargetedPoisoning(form="opposite", scale=factor * (n - f) / f)
        mean = torch.cat([honest, attack(view(torch.ones(f, 6), honest), rng())]).mean(dim=0)
        torch.testing.assert_close(mean, expected * honest.sum(dim=0) / n, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("form", "other"),
    [("fang", Fang(against="trimmed_mean")), ("krum", Fang(against="krum")), ("alie", ALittleIsEnough())],
)
def test_the_other_forms_are_other_papers_attacks(form, other):
    assert torch.equal(UntargetedPoisoning(form=form)(crowd(), rng()), other(crowd(), rng()))


@pytest.mark.parametrize(
    ("against", "form"),
    [
        ("mean", "opposite"),
        ("median", "fang"),
        ("trimmed_mean", "fang"),
        ("krum", "krum"),
        ("multi_krum", "krum"),
        ("bulyan", "krum"),
    ],
)
def test_a_rule_that_is_feared_chooses_the_form(against, form):
    by_rule, by_form = UntargetedPoisoning(against=against), UntargetedPoisoning(form=form)
    assert torch.equal(by_rule(crowd(), rng()), by_form(crowd(), rng()))


@pytest.mark.parametrize(
    ("rule", "form"),
    [
        (None, "opposite"),
        (Mean(), "opposite"),
        (GeometricMedian(), "opposite"),
        (Median(), "fang"),
        (TrimmedMean(2), "fang"),
        (Krum(2), "krum"),
        (MultiKrum(2), "krum"),
        (Bulyan(1), "krum"),
    ],
)
def test_a_rule_that_is_seen_chooses_the_form(rule, form):
    shown = view(torch.zeros(2, 4), torch.randn(8, 4, generator=torch.Generator().manual_seed(3)), rule=rule)
    assert torch.equal(UntargetedPoisoning()(shown, rng()), UntargetedPoisoning(form=form)(shown, rng()))


def test_scale_is_of_the_bare_forms():
    assert torch.equal(
        UntargetedPoisoning(form="fang", scale=9.0)(crowd(), rng()), UntargetedPoisoning(form="fang")(crowd(), rng())
    )


@pytest.mark.parametrize(
    ("attack", "n", "f", "knowledge", "sentence"),
    [
        (UntargetedPoisoning(), 10, 5, "honest", "upa refuses f = 5 attackers of n = 10: it needs f < n/2, at most 4"),
        (UntargetedPoisoning(), 9, 5, "own", "upa refuses f = 5 attackers of n = 9: it needs f < n/2, at most 4"),
        (
            UntargetedPoisoning(form="krum"),
            10,
            4,
            "honest",
            "fang against krum refuses n = 10, f = 4: krum needs n >= 2f + 3 = 11",
        ),
        (
            UntargetedPoisoning(against="median"),
            10,
            1,
            "own",
            "fang refuses f = 1 attackers that see only their own updates: it takes a spread from 2",
        ),
        (
            UntargetedPoisoning(form="alie"),
            10,
            1,
            "own",
            'alie needs knowledge "honest": it takes a spread from at least 2 updates, and its own clients are 1; '
            "granted: 'own'",
        ),
    ],
)
def test_refuses(attack, n, f, knowledge, sentence):
    assert refusal_of(attack, n, f, knowledge) == sentence


def test_accepts_up_to_its_limits():
    UntargetedPoisoning().require(10, 4, "honest")
    UntargetedPoisoning().require(9, 4, "own")
    UntargetedPoisoning(form="sign").require(3, 1, "own")


def test_refuses_two_ways_to_choose_a_form():
    with pytest.raises(Mistake) as refusal:
        UntargetedPoisoning(form="sign", against="krum")
    assert str(refusal.value) == "upa: set form or against, not both"


def test_remarks_on_the_form_that_is_no_attack():
    assert UntargetedPoisoning(form="alie").remark(10, 2) == [
        "upa's form alie has z = 0.00 at n = 10, f = 2: it does not push away from the honest mean"
    ]
    assert UntargetedPoisoning(form="alie").remark(10, 3) == []
    assert UntargetedPoisoning().remark(10, 2) == []
