"""Fang's local model poisoning: by hand, by definition, by promise, by refusal."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from views import crowd, refusal_of, rng, steady, view

from clients.fang import Fang, against_krum
from fedsim.domain import Mistake, Updates
from strategies import Bulyan, Krum, Mean, Median, MultiKrum


def krum_score(rows, i, f):
    """The sum of squared distances to the n - f - 2 nearest others, in float64."""
    apart = sorted(sum((a - b) ** 2 for a, b in zip(rows[i], row, strict=True)) for j, row in enumerate(rows) if j != i)
    return sum(apart[: len(rows) - f - 2])


def picked(honest, sign, scale, f):
    """Whether Krum prefers a crafted row, by its definition."""
    rows = [*honest, *([-scale * s for s in sign] for _ in range(f))]
    scores = [krum_score(rows, i, f) for i in range(len(rows))]
    return min(scores[len(honest) :]) < min(scores[: len(honest)])


def sign_of_mean(honest):
    return [math.copysign(1, total) if (total := sum(column)) else 0.0 for column in zip(*honest, strict=True)]


def test_against_krum_by_hand():
    # One attacker (n = 6): honest 1, 2, 3, 4, 5, s = 1, 3 neighbours. Honest scores without the crafted row x:
    #     1: 1 + 4 + 9;    2: 1 + 1 + 4;    3: 1 + 1 + 4;    4: 1 + 1 + 4;    5: 1 + 4 + 9
    # 6 is the least, and stays so while x is further than 2 from 2 and 3. Its own score is
    #     (1 - x)^2 + (2 - x)^2 + (3 - x)^2 = 14 - 12 x + 3 x^2 >= 14 for x <= 0: never picked.
    assert Fang(against="krum")(view([[0.0]], [[1], [2], [3], [4], [5]]), rng()).item() == 0


def test_against_krum_by_hand_where_honest_updates_straddle_zero():
    # One attacker (n = 6): honest -2, -1, 0, 1, 3 (s = 1), 3 neighbours.
    # x in (-1/2, 0]: 2 + 3 x^2, from -1, 0 and 1; against 2 + x^2 of 0.
    # x below: 2 + 3 (x + 1)^2 or more, from -2, -1 and 0; against 2 + (x + 1)^2, at most 2 + 4, of -1.
    # Never less; a tie at 0 and -1, where Krum takes the lower id.
    assert Fang(against="krum")(view([[0.0]], [[-2], [-1], [0], [1], [3]]), rng()).item() == 0


def test_two_colluders_help_each_other_by_hand():
    # Two attackers at x (n = 9): honest -3, -2, -1, 0, 1, 2, 4 (s = 1), 5 neighbours, of which the other is one.
    # x near -2:  (x + 3)^2 + (x + 2)^2 + (x + 1)^2 + x^2 = 6 - 4 (x + 2) + 4 (x + 2)^2
    #     of -2:  2 (x + 2)^2 + 1 + 1 + 4                 = 6 + 2 (x + 2)^2
    #     of -1:  2 (x + 1)^2 + 1 + 1 + 4                 = 8 at x = -2
    # Picked for (x + 2)^2 < 2 (x + 2), that is, down to x = -2.
    forged = Fang(against="krum")(view([[0.0], [0.0]], [[-3], [-2], [-1], [0], [1], [2], [4]]), rng())
    assert forged[0].item() == forged[1].item()
    assert -2 < forged[0].item() < -2 / 1.003


DRAWS = [
    (f, h, d, offset, seed)
    for f, h in ((1, 4), (2, 8), (3, 9), (4, 14))
    for d in (2, 30)
    for offset in (0.0, 0.4)
    for seed in (0, 1)
]


@pytest.mark.parametrize(("f", "h", "d", "offset", "seed"), DRAWS)
def test_krum_picks_it_with_the_largest_lambda_of_a_fine_scan(f, h, d, offset, seed):
    """The promise of the paper, with our own Krum; the largest is searched among 6000 by the definition."""
    honest = np.random.default_rng(seed).normal(offset, 1, size=(h, d)).astype(np.float32)
    forged = Fang(against="krum")(view(torch.zeros(f, d), torch.from_numpy(honest)), rng())
    sign = np.sign(honest.astype(float).mean(axis=0))
    found = -float(forged[0] @ torch.from_numpy(sign).float()) / d
    largest = scanned(honest.astype(float), sign, f)
    assert found == pytest.approx(largest, rel=0.01)
    if found:
        rows = torch.cat([torch.from_numpy(honest), forged])
        chosen = Krum(f)(Updates(rows, torch.ones(len(rows)), torch.arange(len(rows))), {})
        assert torch.equal(chosen.step, forged[0])
        assert chosen.shares[:h].sum() == 0


@pytest.mark.parametrize(("f", "feared", "h"), [(4, 3, 6), (3, 1, 7), (2, 3, 9), (1, 0, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_of_a_krum_that_fears_another_number_it_knows_what_that_picks(f, feared, h, seed):
    honest = np.random.default_rng(seed).normal(0.4, 1, size=(h, 20)).astype(np.float32)
    forged = Fang(against="krum", feared=feared)(view(torch.zeros(f, 20), torch.from_numpy(honest)), rng())
    sign = np.sign(honest.astype(float).mean(axis=0))
    found = -float(forged[0] @ torch.from_numpy(sign).float()) / 20
    assert found == pytest.approx(scanned(honest.astype(float), sign, f, feared), rel=0.01)
    if found:
        rows = torch.cat([torch.from_numpy(honest), forged])
        chosen = Krum(feared)(Updates(rows, torch.ones(len(rows)), torch.arange(len(rows))), {})
        assert torch.equal(chosen.step, forged[0])


def scanned(honest, sign, f, feared=None):
    """The largest scale of a ladder of steps of 0.2 % with which a crafted row is picked; 0 where none is."""
    h = len(honest)
    nearest = h + f - (f if feared is None else feared) - 2
    scales = 20 * 0.998 ** np.arange(6000)
    apart = ((honest[:, None] - honest) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    for scale in scales:
        to = ((honest + scale * sign) ** 2).sum(axis=1)
        crafted = np.sort(np.concatenate([np.zeros(f - 1), to]))[:nearest].sum()
        table = np.sort(np.concatenate([apart, np.repeat(to[:, None], f, axis=1)], axis=1), axis=1)
        if crafted < table[:, :nearest].sum(axis=1).min():
            return scale
    return 0.0


@steady
@given(st.integers(1, 3), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2**32))
def test_against_krum_by_definition(f, more, d, seed):
    """What it finds is picked, and nothing that is 1 to 10 % larger is."""
    honest = np.random.default_rng(seed).normal(0.1, 1, size=(f + 3 + more, d)).astype(np.float32)
    forged = against_krum(view(torch.zeros(f, d), torch.from_numpy(honest))).tolist()
    sign = sign_of_mean(honest.tolist())
    scale = max(map(abs, forged))
    assert forged == pytest.approx([-scale * s for s in sign])
    if scale:
        assert picked(honest.tolist(), sign, scale, f)
        for larger in (1.01, 1.03, 1.1):
            assert not picked(honest.tolist(), sign, larger * scale, f)


def test_against_krum_it_is_as_small_as_the_updates_are():
    """A lambda is found at any scale of the updates, large or small."""
    honest = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    one = Fang(against="krum")(view(torch.zeros(2, 20), honest), rng())
    small = Fang(against="krum")(view(torch.zeros(2, 20), 1e-6 * honest), rng())
    assert one.abs().max() > 0.01
    torch.testing.assert_close(1e6 * small, one, rtol=0.01, atol=0)


def test_with_partial_knowledge_it_plays_krum_with_as_few_crafted_rows_as_it_takes():
    # The four colluders' own honest updates -2, -1, 1, 3 stand for all, with one crafted row: n = 5, 2 neighbours.
    #     x: the two nearest;   -1: 1 and 2 away from -2 and 1: 1 + 4, or with x
    # With x = -lambda <= -1 the nearest are -2 and -1: (x + 2)^2 + (x + 1)^2, against -1's 1 + (x + 1)^2 (while x is
    # nearer than 1 is) and -2's 1 + (x + 2)^2: picked while (x + 2)^2 < 1 and (x + 1)^2 < 1: -2 < x < -1.
    mine = [[-2.0], [-1.0], [1.0], [3.0]]
    forged = Fang(against="krum")(view(mine, others=20), rng())
    assert -2 < forged[0].item() < -2 / 1.003
    assert forged.unique().numel() == 1
    assert picked([[x] for x in np.ravel(mine)], [1.0], -forged[0].item(), 1)


def test_beyond_the_extremes_by_hand():
    # column means 2, -2, 4, -4; b = 2: from [min/2, min] = [.5, 1], [max/2, max] = [-.5, -1], [2 min, min] = [-2, -1],
    # [max, 2 max] = [1, 2]
    honest = [[1.0, -1.0, -1.0, 1.0], [3.0, -3.0, 9.0, -9.0]]
    forged = Fang()(view(torch.zeros(200, 4), honest), rng())
    for column, (low, high) in zip(forged.T, ((0.5, 1), (-1, -0.5), (-2, -1), (1, 2)), strict=True):
        assert low <= column.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < column.max() <= high
        assert column.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


@steady
@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 4), st.floats(1.1, 5), st.integers(0, 2**32))
def test_beyond_the_extremes_by_definition(f, h, d, b, seed):
    honest = np.random.default_rng(seed).normal(size=(h, d)).astype(np.float32)
    forged = Fang(against="median", b=b)(view(torch.zeros(f, d), torch.from_numpy(honest)), rng(seed)).tolist()
    for j, column in enumerate(honest.T.astype(float).tolist()):
        low, high = min(column), max(column)
        if sum(column) > 0:
            edges = (low / b, low) if low > 0 else (b * low, low)
        else:
            edges = (high, b * high) if high > 0 else (high, high / b)
        for row in forged:
            assert edges[0] - 1e-5 <= row[j] <= edges[1] + 1e-5


@steady
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32))
def test_from_its_own_by_definition(f, d, seed):
    """Between three and four standard deviations from the mean, on the side against it."""
    own = np.random.default_rng(seed).normal(size=(f, d)).astype(np.float32)
    forged = Fang()(view(torch.from_numpy(own), others=9), rng(seed)).tolist()
    for j, column in enumerate(own.T.astype(float).tolist()):
        mu = sum(column) / f
        sigma = (sum((x - mu) ** 2 for x in column) / f) ** 0.5
        for row in forged:
            away = (mu - row[j]) if mu > 0 else (row[j] - mu)
            assert 3 * sigma - 1e-5 <= away <= 4 * sigma + 1e-5


def test_every_attacker_draws_its_own():
    assert len({tuple(row) for row in Fang()(crowd(), rng()).tolist()}) == 3


@pytest.mark.parametrize("rule", [Krum(2), MultiKrum(2), Bulyan(1)])
def test_auto_turns_against_krum_where_the_rule_picks_by_distances(rule):
    shown = view(torch.zeros(2, 5), torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), rule=rule)
    assert torch.equal(Fang()(shown, rng()), Fang(against="krum")(shown, rng()))


@pytest.mark.parametrize("rule", [None, Median(), Mean()])
def test_auto_goes_beyond_the_extremes_elsewhere(rule):
    shown = view(torch.zeros(2, 5), torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), rule=rule)
    assert torch.equal(Fang()(shown, rng()), Fang(against="trimmed_mean")(shown, rng()))


def test_auto_goes_beyond_the_extremes_where_krum_promises_nothing():
    shown = view(torch.zeros(3, 5), torch.randn(5, 5, generator=torch.Generator().manual_seed(0)), rule=Krum(2))
    Fang().require(8, 3, "rule")
    assert torch.equal(Fang()(shown, rng()), Fang(against="trimmed_mean")(shown, rng()))


@pytest.mark.parametrize(
    ("attack", "n", "f", "knowledge", "sentence"),
    [
        (
            Fang(),
            10,
            1,
            "own",
            "fang refuses f = 1 attackers that see only their own updates: it takes a spread from 2",
        ),
        (Fang(against="krum"), 10, 4, "honest", "fang against krum refuses n = 10, f = 4: krum needs n >= 2f + 3 = 11"),
        (
            Fang(against="krum"),
            10,
            3,
            "own",
            "fang against krum refuses f = 3 attackers that see only their own updates: "
            "they play krum among themselves and need at least 4",
        ),
    ],
)
def test_refuses(attack, n, f, knowledge, sentence):
    assert refusal_of(attack, n, f, knowledge) == sentence


def test_accepts_up_to_its_limits():
    Fang().require(10, 2, "own")
    Fang().require(10, 1, "honest")
    Fang(against="krum").require(9, 3, "honest")
    Fang(against="krum").require(11, 4, "own")


def test_refuses_to_stay_inside_the_extremes():
    with pytest.raises(Mistake) as refusal:
        Fang(b=1.0)
    assert str(refusal.value) == "Fang.b: 1.0 is out of range; must be greater than 1"
