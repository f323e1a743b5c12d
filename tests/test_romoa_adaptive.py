"""The attacks made for Romoa: each keeps its promise, and is honest until it strikes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.romoa.adaptive.__main__ import summary
from experiments.romoa.adaptive.attacks import Drift, MatchingCosines, MatchingTarget
from experiments.romoa.adaptive.playing import Found, config_of, play
from experiments.romoa.adaptive.sight import Sight, disguised
from experiments.romoa.adaptive.suites import IDEAS, Cell, cells
from fedsim.build import check, experiment
from fedsim.domain import Attack, Layout, Poison, Refused, Targeted, Updates, View
from fedsim.engine.round import play_round
from strategies.romoa import Romoa

Array = NDArray[np.float64]

LAYOUT = Layout(("in", "bias", "out", "small"), ((20, 6), (30,), (5, 12), (5,)), 215)
CROWDS = [(10, 1), (10, 2), (10, 4), (20, 9)]
"""With nine colluders there is room in no small tensor for noise of their own."""


def seen(n: int, f: int, seed: int = 0, spread: float = 1.0, round: int = 1) -> View:
    """A round of n clients who agree as well as ``spread`` lets them, f of them in one hand."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=215) + spread * rng.normal(size=(n, 215))
    # Weights that are large, and stay so, are the ones that are selected.
    params = rng.normal(size=215) + 1e3 * (rng.permutation(215) < math.ceil(215 / n))
    own, honest, weights = (torch.tensor(it, dtype=torch.float32) for it in (rows[:f], rows[f:], params))
    return View(round, n, weights, own, honest, None, None, rows_towards(rng, f), LAYOUT)


def rows_towards(rng: np.random.Generator, f: int) -> torch.Tensor:
    return torch.tensor(rng.normal(size=215) + 0.1 * rng.normal(size=(f, 215)), dtype=torch.float32)


def shown(view: View, forged: torch.Tensor) -> tuple[Array, Array, Array]:
    """What Romoa itself measures, (n, 1 + 2 L) with the colluders first; its shares (n,); the clipped lengths (n,)."""
    rows, rule = torch.cat([forged, view.seen]), Romoa()
    aggregate = rule(
        Updates(rows, torch.ones(len(rows)), torch.arange(len(rows)), params=view.params), rule.init(LAYOUT)
    )
    figures = [aggregate.figures[name][0].numpy() for name in ("similarity", "layer_cosine", "layer_pattern")]
    assert aggregate.shares is not None
    lengths = np.linalg.norm(rows.double().numpy(), axis=1)
    table = np.concatenate([figures[0][:, None], *figures[1:]], axis=1)
    return table, aggregate.shares.numpy(), np.minimum(lengths, np.median(lengths))


def towards(forged: torch.Tensor, direction: torch.Tensor) -> float:
    """How far rows go in a direction, on the mean."""
    return float(forged.double().mean(dim=0) @ direction.double() / direction.double().norm())


MATCHING: list[Attack] = [MatchingCosines(), MatchingCosines(aim="mean"), MatchingTarget()]


@pytest.mark.parametrize("attack", MATCHING, ids=["descent", "mean", "target"])
@pytest.mark.parametrize(("n", "f"), CROWDS)
@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_measures_are_those_of_the_median_honest_client(attack: Attack, n: int, f: int, spread: float) -> None:
    view = seen(n, f, spread=spread)
    forged = attack(view, np.random.default_rng(1))
    assert not torch.equal(forged, view.own), "it found no disguise"
    table, shares, lengths = shown(view, forged)
    wanted = np.median(table[f:], axis=0)
    np.testing.assert_allclose(table[:f], np.tile(wanted, (f, 1)), rtol=0, atol=1e-4)
    np.testing.assert_allclose(lengths[:f], lengths.max(), rtol=1e-6)
    # No more suspicious than those who lie on both sides of it.
    assert shares[:f].min() > 0.99 * shares[f:].mean()


@pytest.mark.parametrize(("n", "f"), CROWDS)
def test_goes_farther_towards_harm_than_honest_colluders(n: int, f: int) -> None:
    view = seen(n, f, spread=2.0)
    assert view.poisoned is not None
    harm, honest = -view.poisoned.mean(dim=0), view.own
    gone = towards(MatchingCosines()(view, np.random.default_rng(1)), harm)
    assert gone > towards(honest, harm) + 0.2 * float(honest.norm(dim=1).mean())


def test_more_harm_than_rows_drawn_from_what_measures_the_same() -> None:
    """Of rows found for any other direction none goes half as far in this one."""
    view, rng = seen(10, 4, spread=2.0), np.random.default_rng(2)
    harm = torch.tensor(rng.normal(size=215))
    gone = towards(disguised(view, harm, rng), harm)
    others = [towards(disguised(view, torch.tensor(rng.normal(size=215)), rng), harm) for _ in range(10)]
    assert 0 < max(others) < gone / 2


@pytest.mark.parametrize("quantile", [0.0, 0.2, 1.0])
def test_measures_are_those_of_a_quantile(quantile: float) -> None:
    view = seen(10, 3)
    table, _, _ = shown(view, MatchingCosines(quantile=quantile, below=0.03)(view, np.random.default_rng(1)))
    wanted = np.quantile(table[3:], quantile, axis=0) - 0.03
    np.testing.assert_allclose(table[:3], np.tile(wanted, (3, 1)), rtol=0, atol=1e-4)


def test_by_its_own_eyes_it_sees_no_other_client() -> None:
    view, attack = replace(seen(10, 4), honest=None), MatchingCosines()
    forged = attack(view, np.random.default_rng(1))
    sight = Sight.of(view)
    assert (sight.others, sight.honest.shape) == (6, (4, 215))
    assert not torch.equal(forged, view.own)
    assert not torch.equal(forged, attack(seen(10, 4), np.random.default_rng(1)))


def test_without_anything_to_hide_in_it_is_honest() -> None:
    view = seen(10, 4)
    still = replace(view, honest=torch.zeros_like(view.seen))
    for attack in (*MATCHING, Drift(trusted=0)):
        assert torch.equal(attack(still, np.random.default_rng(1)), view.own)


def test_what_is_not_finite_is_not_seen() -> None:
    view = seen(10, 3)
    honest = view.seen.clone()
    honest[2, 7] = torch.nan
    assert Sight.of(replace(view, honest=honest)).honest.shape == (6, 215)


def layer_cosines(view: View, rows: torch.Tensor) -> Array:
    """(n, L) with the mean honest update as it is clipped."""
    mean = torch.tensor(Sight.of(view).mean)
    spans = [(rows.double()[:, span], mean[span]) for span in LAYOUT.slices]
    found = [torch.nn.functional.cosine_similarity(part, its, dim=1) for part, its in spans]
    return torch.stack(found, dim=1).numpy()


def test_drift_is_honest_until_it_is_trusted_and_then_turns_by_a_step_a_round() -> None:
    attack, view = Drift(trusted=5, step=0.03), seen(10, 4)
    before = np.median(layer_cosines(view, view.seen), axis=0)
    for round in range(1, 31):
        now = replace(view, round=round)
        forged = attack(now, np.random.default_rng(round))
        if round <= 5:
            assert torch.equal(forged, view.own)
            continue
        assert torch.equal(forged, forged[:1].expand_as(forged))
        after = layer_cosines(now, forged)[0]
        np.testing.assert_allclose(before - after, 0.03, atol=1e-5)
        before = after
        np.testing.assert_allclose(shown(now, forged)[2][:4], shown(now, forged)[2].max(), rtol=1e-6)
    assert after.max() < 0.3, "it has turned"


def test_drift_goes_no_deeper_than_it_is_told_nor_than_against_the_mean() -> None:
    view = seen(10, 4, round=1000)
    median = np.median(layer_cosines(view, view.seen), axis=0)
    shallow, deep = (Drift(depth=depth)(view, np.random.default_rng(1)) for depth in (0.1, None))
    np.testing.assert_allclose(median - layer_cosines(view, shallow)[0], 0.1, atol=1e-5)
    np.testing.assert_allclose(layer_cosines(view, deep)[0], -1, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in IDEAS if name.startswith("late")])
def test_late_ideas_are_honest_in_the_lookahead_and_strike_at_the_sync(name: str) -> None:
    built = experiment(config_of(Cell(20, 9, "romoa", name, 0)))
    world, (state, _) = built.world, play_round(built.state, built.world)
    honest = world.carrier.train(range(20), state.params, 2)
    early, late = [rows.clone() for rows in honest.lookahead], honest.rows.clone()
    turn = world.forger.turn(honest, state.params, 2, 20)
    assert len(early) == 3
    for moment, rows in enumerate(early):
        assert torch.equal(turn.ahead(moment, state.memory).rows, rows)
    changed = (turn.sent(state.memory).rows != late).any(dim=1).nonzero().flatten().tolist()
    assert tuple(changed) == world.forger.adversary.clients


def test_they_train_on_what_their_aim_needs() -> None:
    view, attack = seen(10, 3), MatchingCosines()
    assert isinstance(attack, Poison)
    assert isinstance(MatchingTarget(), Poison)
    assert isinstance(MatchingTarget(), Targeted)
    assert attack.pace == MatchingTarget().pace == 5
    blind = MatchingCosines(aim="mean")(replace(view, poisoned=None), np.random.default_rng(1))
    assert torch.equal(blind, MatchingCosines(aim="mean")(view, np.random.default_rng(1)))


@pytest.mark.parametrize("attack", [*MATCHING, Drift()], ids=lambda attack: type(attack).__name__)
def test_half_of_the_clients_are_refused(attack: Attack) -> None:
    attack.require(10, 4, "honest")
    with pytest.raises(Refused) as refusal:
        attack.require(10, 5, "honest")
    assert str(refusal.value) == (
        f"{type(attack).__name__} refuses f = 5 attackers of n = 10: it needs f < n/2, at most 4"
    )


def test_every_cell_is_a_configuration_that_holds_together() -> None:
    found = cells(1)
    assert len(found) == len(set(found))
    assert {(it.clients, it.attackers) for it in found if it.rule == "romoa"} >= {(10, 1), (10, 3), (10, 4), (20, 9)}
    assert {it.rule for it in found if it.attack == "matching"} == {"romoa", "mean", "rfa", "krum"}
    for it in found:
        check(config_of(it))


def test_four_of_ten_who_match_are_believed_more_than_the_honest() -> None:
    found = play(Cell(10, 4, "romoa", "late, matching", 0))
    assert found.error_rate > 0.4
    assert found.target_confidence is None
    assert found.attackers_factor is not None
    assert found.honest_factor is not None
    assert found.attackers_factor > 1 > found.honest_factor


def test_a_cell_of_another_rule_has_no_factors() -> None:
    found = play(Cell(10, 0, "mean", "clean", 0))
    assert found.error_rate < 0.08
    assert (found.attackers_share, found.honest_factor, found.attackers_factor) == (None, None, None)


def test_the_summary_shows_mean_and_worst_of_what_an_attack_wants() -> None:
    done = {
        Cell(10, 4, "romoa", "matching, target", 0): Found(0.05, 0.5, 0.5, 0.9, 1.1),
        Cell(10, 4, "romoa", "matching, target", 1): Found(0.05, 0.7, 0.6, 0.9, 1.3),
        Cell(10, 4, "krum", "matching, target", 0): Found(0.07, 0.0, 0.0, None, None),
    }
    assert "| matching, target | 0.60 (0.70) |  |  | 0.00 (0.00) | 0.55 | 0.90 | 1.20 |" in summary(done)
