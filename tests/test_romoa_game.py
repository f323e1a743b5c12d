"""The games of Romoa's Sec. 4: their payoffs by hand, what is found of them, and the lemmas that GAME.md proves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from experiments.romoa import game as command
from experiments.romoa.equilibria import Crowd, Equilibrium, Solution, crowds, moved, solve
from experiments.romoa.utilities import (
    ABSOLUTE,
    BORDER,
    CHARGED,
    PRINTED,
    REACHED,
    SCALED,
    UNDEFENDED,
    Game,
    likeness,
    nothing,
    whole,
)
from fedsim.commands import launch

SIZES = [(2, 1), (2, 4), (3, 3), (4, 4), (5, 3), (10, 2)]
NOTE = Path(command.__file__).with_name("GAME.md")
HALF = Fraction(1, 2)


def solved(game: Game, players: int, levels: int) -> Solution:
    return solve(game.payoff, players, levels + 1)


def common(players: int, levels: int, level: int) -> Crowd:
    return tuple(players if k == level else 0 for k in range(levels + 1))


def alike(players: int, levels: int, stricts: Sequence[bool]) -> tuple[Equilibrium, ...]:
    """An equilibrium for each common dosage, from q_0 on."""
    return tuple(Equilibrium(common(players, levels, k), strict) for k, strict in enumerate(stricts))


def test_two_players_and_one_dosage_by_hand() -> None:
    # G: both honest 1/2 (1 + 1) + 0; one attacks: 1/2 (1 + 0) + 0 for the honest, + 1 for the other; both: 0 + 1.
    assert UNDEFENDED.payoff(0, (2, 0)) == 1
    assert (UNDEFENDED.payoff(0, (1, 1)), UNDEFENDED.payoff(1, (1, 1))) == (HALF, 3 * HALF)
    assert UNDEFENDED.payoff(1, (0, 2)) == 1
    # G*: the attacker's g = 0 is less than the honest one's 1, so it is charged e = 0: 1/2 (0 x 1 + 1 x 0) + 1.
    assert PRINTED.payoff(0, (2, 0)) == 1
    assert (PRINTED.payoff(0, (1, 1)), PRINTED.payoff(1, (1, 1))) == (HALF, Fraction(1))
    assert PRINTED.payoff(1, (0, 2)) == 1


def test_three_dosages_by_hand() -> None:
    # n = 3, d = 2, dosages 0, 1/2, 1: g is 1, 1/2, 0. The one in the middle is charged 1/2 by the honest one only:
    # 1/3 (1/2 x 1 + 1 x 1/2 + 1 x 0) + 1/2 = 5/6; in G 1/3 (1 + 1/2) + 1/2 = 1.
    assert PRINTED.payoff(1, (1, 1, 1)) == Fraction(5, 6)
    assert UNDEFENDED.payoff(1, (1, 1, 1)) == 1
    # Its prices are 1/2, 1, 1, 5/6 in the mean; that on the attack score, too: 1/3 + 5/6 x 1/2.
    assert REACHED.payoff(1, (1, 1, 1)) == Fraction(1, 3) + Fraction(5, 12)
    # e = 1/2 always: 1/2 x 1/2 + 1/2, and 1/2 of what it gets in G.
    assert ABSOLUTE.payoff(1, (1, 1, 1)) == Fraction(3, 4)
    assert CHARGED.payoff(1, (1, 1, 1)) == HALF
    assert BORDER.payoff(1, (1, 1, 1)) == Fraction(1, 3) + Fraction(1, 6)
    assert SCALED.payoff(1, (1, 1, 1)) == Fraction(1, 3) + Fraction(1, 8)


@pytest.mark.parametrize(("players", "levels"), SIZES)
def test_the_utilities_that_the_paper_states(players: int, levels: int) -> None:
    n = Fraction(players)
    one = moved(moved(common(players, levels, 0), -1, 0), 1, levels)
    assert UNDEFENDED.payoff(0, common(players, levels, 0)) == 1
    assert UNDEFENDED.payoff(levels, one) == 2 - 1 / n
    assert UNDEFENDED.payoff(0, one) == 1 - 1 / n
    assert UNDEFENDED.payoff(levels, common(players, levels, levels)) == 1


@pytest.mark.parametrize(("players", "levels"), SIZES)
def test_in_g_all_attack_and_nothing_is_lost(players: int, levels: int) -> None:
    found = solved(UNDEFENDED, players, levels)
    assert found.equilibria == (Equilibrium(common(players, levels, levels), True),)
    assert set(found.welfare) == {Fraction(players)}
    assert (found.always_best, found.alone_best) == ((levels,), True)


@pytest.mark.parametrize(("players", "levels"), SIZES)
def test_as_printed_every_common_dosage_is_an_equilibrium_and_only_full_attack_is_strict(
    players: int, levels: int
) -> None:
    found = solved(PRINTED, players, levels)
    assert found.equilibria == alike(players, levels, [False] * levels + [True])
    assert found.welfare[1] == players
    # The counterexample: from all-honest every move pays exactly 1; full attack pays 1 for certain, nothing pays more.
    assert {command.alone(0, own, players, levels) for own in range(levels + 1)} == {Fraction(1)}
    assert (found.always_best, found.alone_best) == ((levels,), False)
    assert found.greatest == found.surely[levels] == 1


def test_beside_one_attacker_honesty_does_not_pay() -> None:
    # Ten players, one of whom attacks: 1/10 x 9 for the honest; who joins in has g = 0 and so is charged all: 0 + 1.
    assert PRINTED.payoff(0, (9, 1)) == Fraction(9, 10)
    assert PRINTED.payoff(1, (8, 2)) == 1


@pytest.mark.parametrize(("players", "levels"), SIZES)
def test_neither_change_alone_helps(players: int, levels: int) -> None:
    assert solved(REACHED, players, levels).equilibria == alike(players, levels, [True] * (levels + 1))
    honest, attack = common(players, levels, 0), common(players, levels, levels)
    assert solved(ABSOLUTE, players, levels).equilibria == (Equilibrium(honest, False), Equilibrium(attack, True))


@pytest.mark.parametrize(("players", "levels"), SIZES)
@pytest.mark.parametrize("game", [CHARGED, SCALED], ids=lambda game: game.name)
def test_what_makes_the_claim_true(game: Game, players: int, levels: int) -> None:
    found = solved(game, players, levels)
    assert found.equilibria == (Equilibrium(common(players, levels, 0), True),)
    assert command.standing(found, players) == command.ONLY


@pytest.mark.parametrize("others", [0, HALF, 1])
@pytest.mark.parametrize("alike_too", [0, HALF, 1])
@pytest.mark.parametrize("worse", [0, HALF, 1])
def test_no_price_makes_up_for_13(others: Fraction, alike_too: Fraction, worse: Fraction) -> None:
    def charge(own: Fraction, other: Fraction) -> Fraction:
        return Fraction(others if own > other else alike_too if own == other else worse)

    found = solved(Game("any prices", charge, whole), 3, 3)
    assert Equilibrium(common(3, 3, 3), True) in found.equilibria


def counting(worth: Fraction) -> Callable[[Fraction, int], Fraction]:
    return lambda mean_price, players: worth


@pytest.mark.parametrize(("players", "levels"), [(2, 1), (3, 3), (5, 2)])
def test_how_much_an_attack_may_be_worth(players: int, levels: int) -> None:
    n = Fraction(1, players)
    for worth in (Fraction(0), n / 2, n - Fraction(1, 1000), n, n + Fraction(1, 1000), Fraction(99, 100), Fraction(1)):
        for price_of, bound in ((nothing, n), (likeness, Fraction(1))):
            game = Game("", price_of, counting(worth))
            found = solved(game, players, levels)
            honest = [it for it in found.equilibria if it.profile[0] == players]
            assert bool(honest) == (worth <= bound)
            assert all(it.strict == (worth < bound) for it in honest)
            # (14) lets an attack be worth n times as much until honesty is none; never until it is alone.
            assert (command.standing(found, players) == command.ONLY) == (worth < n)


@pytest.mark.parametrize(("players", "levels"), [*SIZES, (6, 5)])
def test_charged_in_full_one_step_less_pays_whoever_attacks_most(players: int, levels: int) -> None:
    for profile in crowds(players, levels + 1):
        most = max(level for level, count in enumerate(profile) if count)
        if most:
            less = moved(moved(profile, -1, most), 1, most - 1)
            assert CHARGED.payoff(most - 1, less) > CHARGED.payoff(most, profile)


def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["game", *words])
    with pytest.raises(SystemExit) as ended:
        launch(command.main)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_the_note_shows_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = called(monkeypatch, capsys, "--players", "10", "--levels", "4")
    assert (code, err) == (0, "")
    assert "```\n$ python -m experiments.romoa.game --players 10 --levels 4\n" + out + "```" in NOTE.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--players", "1"], "--players 1: a game takes two"),
        (["--players", "-3", "--levels", "0"], "--players -3: a game takes two"),
        (["--levels", "0"], "--levels 0: with q_0 alone there is nothing to choose; at least 1"),
        (
            ["--players", "20", "--levels", "10"],
            "--players 20 --levels 10: more than 50000 profiles; take fewer of either",
        ),
        (
            ["--players", "1000000000", "--levels", "1000000000"],
            "--players 1000000000 --levels 1000000000: more than 50000 profiles; take fewer of either",
        ),
    ],
)
def test_refusals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert called(monkeypatch, capsys, *words) == (2, "", sentence + "\n")
