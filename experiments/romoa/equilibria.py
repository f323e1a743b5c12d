"""Pure equilibria of a game whose players are alike, by trying every profile; in exact numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

Crowd = tuple[int, ...]
"""How many players take each action, from action 0 on; as players are alike, all there is to a profile."""

Payoff = Callable[[int, Crowd], Fraction]
"""What a player of an action gets in a profile, in which it is itself counted."""


@dataclass(frozen=True)
class Equilibrium:
    """A profile in which nobody gains by moving alone.

    Fields:
        strict: whether everybody loses by moving alone; else somebody moves for nothing.
    """

    profile: Crowd
    strict: bool


@dataclass(frozen=True)
class Solution:
    """What trying everything finds.

    Fields:
        equilibria: all of them, in the order of ``crowds``.
        welfare: the least and the greatest sum of payoffs of a profile.
        always_best: the actions that no other beats, whatever the others do.
        alone_best: whether such an action is at all times the only best one: strict dominance.
        surely: what each action pays at least.
        greatest: the greatest payoff anybody ever gets.
    """

    equilibria: tuple[Equilibrium, ...]
    welfare: tuple[Fraction, Fraction]
    always_best: tuple[int, ...]
    alone_best: bool
    surely: tuple[Fraction, ...]
    greatest: Fraction


def crowds(players: int, actions: int) -> Iterator[Crowd]:
    """Every profile of so many players, up to who is who; C(players + actions - 1, players) of them."""
    if actions == 1:
        yield (players,)
        return
    for first in range(players, -1, -1):
        for others in crowds(players - first, actions - 1):
            yield (first, *others)


def moved(profile: Crowd, by: int, action: int) -> Crowd:
    """The profile with ``by`` more players, or fewer, at one action."""
    return (*profile[:action], profile[action] + by, *profile[action + 1 :])


def solve(payoff: Payoff, players: int, actions: int) -> Solution:
    """Compare every player's payoff in every profile with what each other action would pay it.

    Cost: with P profiles, about (actions + 1) P payoffs, kept in memory until the end.
    """
    replies = {
        others: tuple(payoff(action, moved(others, 1, action)) for action in range(actions))
        for others in crowds(players - 1, actions)
    }
    best = {others: _best(row) for others, row in replies.items()}
    found, welfares = [], []
    for profile in crowds(players, actions):
        left = {action: moved(profile, -1, action) for action in range(actions) if profile[action]}
        welfares.append(
            sum((profile[action] * replies[others][action] for action, others in left.items()), Fraction(0))
        )
        if all(action in best[others] for action, others in left.items()):
            found.append(Equilibrium(profile, strict=all(len(best[others]) == 1 for others in left.values())))
    always = tuple(action for action in range(actions) if all(action in row for row in best.values()))
    return Solution(
        equilibria=tuple(found),
        welfare=(min(welfares), max(welfares)),
        always_best=always,
        alone_best=bool(always) and all(len(row) == 1 for row in best.values()),
        surely=tuple(min(row[action] for row in replies.values()) for action in range(actions)),
        greatest=max(max(row) for row in replies.values()),
    )


def _best(row: tuple[Fraction, ...]) -> list[int]:
    most = max(row)
    return [action for action, paid in enumerate(row) if paid == most]
