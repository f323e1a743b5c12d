"""The equilibria of Romoa's games against plain loops over who does what, once and in two rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import comb

import pytest

from experiments.romoa.equilibria import Crowd, Payoff, crowds, solve
from experiments.romoa.game import describe, name
from experiments.romoa.utilities import ABSOLUTE, BORDER, CHARGED, GAMES, PRINTED, REACHED, SCALED, UNDEFENDED, Game

Utility = Callable[[int, Sequence[int], int], Fraction]
"""u_i of a profile, one dosage a player, of dosages up to d: arguments i, profile, d."""


def gain(level: int, d: int) -> Fraction:
    return 1 - Fraction(level, d)


def price(i: int, j: int, a: Sequence[int], d: int) -> Fraction:
    """(14)."""
    return Fraction(1) if gain(a[i], d) >= gain(a[j], d) else gain(a[i], d)


def eq_12(i: int, a: Sequence[int], d: int) -> Fraction:
    return Fraction(1, len(a)) * sum(gain(it, d) for it in a) + Fraction(a[i], d)


def eq_13(i: int, a: Sequence[int], d: int, worth: Fraction | None = None) -> Fraction:
    known = sum(price(i, j, a, d) / len(a) * gain(a[j], d) for j in range(len(a)))
    return known + (Fraction(1) if worth is None else worth) * Fraction(a[i], d)


def eq_13_reaching(i: int, a: Sequence[int], d: int) -> Fraction:
    return sum(
        (price(i, j, a, d) / len(a) * (gain(a[j], d) + Fraction(a[i], d)) for j in range(len(a))), start=Fraction(0)
    )


LITERALLY: dict[str, Utility] = {
    UNDEFENDED.name: eq_12,
    PRINTED.name: eq_13,
    REACHED.name: eq_13_reaching,
    ABSOLUTE.name: lambda i, a, d: gain(a[i], d) * (eq_12(i, a, d) - Fraction(a[i], d)) + Fraction(a[i], d),
    CHARGED.name: lambda i, a, d: gain(a[i], d) * eq_12(i, a, d),
    BORDER.name: lambda i, a, d: eq_13(i, a, d, Fraction(1, len(a))),
    SCALED.name: lambda i, a, d: eq_13(i, a, d, Fraction(1, len(a) + 1)),
}


def moves(a: tuple[int, ...], d: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Who moves alone, and to which profile."""
    for i, other in product(range(len(a)), range(d + 1)):
        if other != a[i]:
            yield i, (*a[:i], other, *a[i + 1 :])


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
@pytest.mark.parametrize(("players", "levels"), [(2, 1), (2, 4), (3, 3), (4, 2), (5, 1)])
def test_against_every_profile_in_which_it_is_told_who_is_who(game: Game, players: int, levels: int) -> None:
    utility = LITERALLY[game.name]
    stricts: dict[Crowd, set[bool]] = {}
    welfares = []
    for a in product(range(levels + 1), repeat=players):
        lost = [utility(i, a, levels) - utility(i, b, levels) for i, b in moves(a, levels)]
        welfares.append(sum(utility(i, a, levels) for i in range(players)))
        if min(lost) >= 0:
            counted = Counter(a)
            stricts.setdefault(tuple(counted[k] for k in range(levels + 1)), set()).add(min(lost) > 0)
    found = solve(game.payoff, players, levels + 1)
    assert {it.profile: {it.strict} for it in found.equilibria} == stricts
    assert found.welfare == (min(welfares), max(welfares))


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_dominance_against_every_choice_of_the_others(game: Game) -> None:
    players, levels = 3, 3
    utility = LITERALLY[game.name]
    rows = [
        [utility(0, (own, *others), levels) for own in range(levels + 1)]
        for others in product(range(levels + 1), repeat=players - 1)
    ]
    found = solve(game.payoff, players, levels + 1)
    assert found.always_best == tuple(k for k in range(levels + 1) if all(row[k] == max(row) for row in rows))
    assert found.surely == tuple(min(row[k] for row in rows) for k in range(levels + 1))
    assert found.greatest == max(max(row) for row in rows)
    for k in found.always_best:
        assert found.alone_best == all(row[k] > other for row in rows for j, other in enumerate(row) if j != k)


Course = tuple[tuple[int, int], tuple[int, int]]
"""What two players do in the first round and in the second."""


def twice(payoff: Payoff) -> tuple[set[Course], set[Course]]:
    """What two players of two actions play twice: in all Nash equilibria, and in all subgame-perfect ones.

    A strategy is a first action, and one after each of the four first rounds: 32 a player.
    """
    pay = {(a, b): payoff(a, tuple(Counter((a, b))[k] for k in range(2))) for a, b in product(range(2), repeat=2)}
    rounds = [(a, b) for a in range(2) for b in range(2)]
    plans = [(first, dict(zip(rounds, then, strict=True))) for first, *then in product(range(2), repeat=5)]
    swapped = {(a, b): (b, a) for a, b in rounds}
    stage = {(a, b) for a, b in rounds if pay[a, b] >= pay[1 - a, b] and pay[b, a] >= pay[1 - b, a]}

    def course(mine: int, theirs: int) -> Course:
        first = (plans[mine][0], plans[theirs][0])
        return first, (plans[mine][1][first], plans[theirs][1][swapped[first]])

    total = {
        (mine, theirs): sum(pay[played] for played in course(mine, theirs))
        for mine, theirs in product(range(32), repeat=2)
    }
    best = [max(total[mine, theirs] for mine in range(32)) for theirs in range(32)]
    nash, perfect = set(), set()
    for mine, theirs in product(range(32), repeat=2):
        if total[mine, theirs] == best[theirs] and total[theirs, mine] == best[mine]:
            first, second = course(mine, theirs)
            nash.add((first, second))
            if all((plans[mine][1][it], plans[theirs][1][swapped[it]]) in stage for it in rounds):
                perfect.add((first, second))
    return nash, perfect


HONEST, ATTACK = (0, 0), (1, 1)


def test_two_rounds_as_printed_end_in_any_of_four_courses() -> None:
    four = set(product((HONEST, ATTACK), repeat=2))
    assert twice(PRINTED.payoff) == (four, four)


@pytest.mark.parametrize("game", [CHARGED, SCALED], ids=lambda game: game.name)
def test_two_rounds_with_the_change_are_honest_where_threats_must_be_credible(game: Game) -> None:
    nash, perfect = twice(game.payoff)
    assert perfect == {(HONEST, HONEST)}
    assert (ATTACK, HONEST) in nash


@pytest.mark.parametrize(("players", "actions"), [(1, 1), (2, 2), (4, 3), (3, 5)])
def test_profiles_are_counted_once(players: int, actions: int) -> None:
    found = list(crowds(players, actions))
    assert len(found) == len(set(found)) == comb(players + actions - 1, players)
    assert all(sum(it) == players and len(it) == actions and min(it) >= 0 for it in found)


def test_a_game_without_equilibrium_and_one_with_a_mixed_crowd() -> None:
    # Who is in the minority of three wins: two of one kind and one of the other, whichever, and nobody gains by moving.
    found = solve(lambda own, profile: Fraction(profile[own] == 1), 3, 2)
    assert [(it.profile, it.strict) for it in found.equilibria] == [((2, 1), False), ((1, 2), False)]
    assert [name(it.profile) for it in found.equilibria] == ["2 x q_0 + 1 x q_1", "1 x q_0 + 2 x q_1"]
    # Who is beaten by the next of three in a circle wants to move on.
    chased = solve(lambda own, profile: Fraction(profile[own - 1] - profile[(own + 1) % 3]), 2, 3)
    assert chased.equilibria == ()
    assert next(describe(chased, 2)) == "equilibria  0: none"
