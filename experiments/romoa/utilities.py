"""The games of Sec. 4 of the Romoa paper as printed, and changes to them, in one formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from experiments.romoa.equilibria import Crowd

ONE = Fraction(1)


def nothing(own: Fraction, other: Fraction) -> Fraction:
    """Nobody is charged."""
    return ONE


def likeness(own: Fraction, other: Fraction) -> Fraction:
    """(14): whoever poisons more than P_j is charged by it; e_j = 1 where g(a_i) >= g(a_j), else g(a_i)."""
    return ONE if own >= other else own


def honesty(own: Fraction, other: Fraction) -> Fraction:
    """Whoever poisons is charged, also by those who do the same: e_j = g(a_i), without (14)'s first case."""
    return own


@dataclass(frozen=True)
class Game:
    """A game of n players and dosages q_0 to q_d, with g(a) = 1 - |a|/d and h(a) = |a|/d:

        u_i(a) = sum over j of e_j/n g(a_j) + w h(a_i)

    Fields:
        price: e_j, from g(a_i) and g(a_j); that of P_i itself is among them.
        worth: w, from the mean of the prices and n.
    """

    name: str
    price: Callable[[Fraction, Fraction], Fraction]
    worth: Callable[[Fraction, int], Fraction]

    def payoff(self, own: int, profile: Crowd) -> Fraction:
        """What a player of dosage q_own gets where ``profile[k]`` players, itself among them, choose q_k."""
        players, levels = sum(profile), len(profile) - 1
        mine = Fraction(levels - own, levels)
        information = mean_price = Fraction(0)
        for level, count in enumerate(profile):
            if count:
                gain = Fraction(levels - level, levels)
                share = self.price(mine, gain) * count / players
                mean_price += share
                information += share * gain
        return information + self.worth(mean_price, players) * (1 - mine)


def whole(mean_price: Fraction, players: int) -> Fraction:
    """The attack score counts in full, as printed."""
    return ONE


def priced(mean_price: Fraction, players: int) -> Fraction:
    """The attack score is charged as what others know is: e_j/n (g(a_j) + h(a_i)) in (13)."""
    return mean_price


def border(mean_price: Fraction, players: int) -> Fraction:
    """The attack score counts for 1/n, as much as the attacker's own knowledge."""
    return Fraction(1, players)


def less(mean_price: Fraction, players: int) -> Fraction:
    """The attack score counts for a little less than the attacker's own knowledge."""
    return Fraction(1, players + 1)


UNDEFENDED = Game("G: (12)", nothing, whole)
PRINTED = Game("G*: (13) and (14) as printed", likeness, whole)
REACHED = Game("(13) with e_j/n (g(a_j) + h(a_i)), (14) as printed", likeness, priced)
ABSOLUTE = Game("(13) as printed, (14) with e_j = g(a_i) always", honesty, whole)
CHARGED = Game("both: u_i* = g(a_i) u_i", honesty, priced)
BORDER = Game("(13) with h(a_i)/n, (14) as printed", likeness, border)
SCALED = Game("(13) with h(a_i)/(n + 1), (14) as printed", likeness, less)

GAMES = (UNDEFENDED, PRINTED, REACHED, ABSOLUTE, CHARGED, BORDER, SCALED)
