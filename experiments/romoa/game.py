"""python -m experiments.romoa.game: the equilibria of the games of Romoa's Sec. 4, found by trying every profile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import comb
from typing import Annotated

import typer

from experiments.romoa.equilibria import Crowd, Solution, moved, solve
from experiments.romoa.utilities import GAMES, PRINTED
from fedsim.commands import launch
from fedsim.domain import Mistake

MOST = 50_000
"""Profiles that are tried at most: a minute or two, in exact fractions."""

ONLY = "the only equilibrium"


def main(
    players: Annotated[int, typer.Option(help="n, at least 2")] = 10,
    levels: Annotated[int, typer.Option(help="d, the greatest dosage; q_0 is no poison; at least 1")] = 4,
) -> None:
    """Say of G, of G* and of changes to it which profiles are equilibria, and what follows for the paper's claim."""
    tried = require(players, levels)
    print(f"{players} players, dosages q_0 (honest) to q_{levels}: {tried} profiles, the players being alike")
    found = {}
    for game in GAMES:
        found[game.name] = solve(game.payoff, players, levels + 1)
        print(f"\n{game.name}", *describe(found[game.name], players), sep="\n  ")
    print("\nWhat follows", *conclude(found, players, levels), sep="\n  ")


def require(players: int, levels: int) -> int:
    """How many profiles there are; refuses games that are none, and more profiles than ``MOST``."""
    if players < 2:
        raise Mistake(f"--players {players}: a game takes two")
    if levels < 1:
        raise Mistake(f"--levels {levels}: with q_0 alone there is nothing to choose; at least 1")
    # Profiles are more than either; counted for both, they may have more digits than can be waited for.
    if max(players, levels) > MOST or (tried := comb(players + levels, levels)) > MOST:
        raise Mistake(f"--players {players} --levels {levels}: more than {MOST} profiles; take fewer of either")
    return tried


def describe(solution: Solution, players: int) -> Iterator[str]:
    """A game's equilibria, welfare and dominance, a line each."""
    told = [f"{name(it.profile)} ({'strict' if it.strict else 'weak'})" for it in solution.equilibria]
    yield f"equilibria  {len(told)}: {', '.join(told) or 'none'}"
    least, most = solution.welfare
    yield f"welfare     {f'{least} in every profile: constant-sum' if least == most else f'{least} to {most}'}"
    best = " and ".join(f"q_{action}" for action in solution.always_best)
    if solution.alone_best:
        yield f"dominance   {best} beats every other dosage, whatever the others do"
    elif best:
        yield f"dominance   no dosage ever beats {best}, whatever the others do"
    else:
        yield "dominance   none: what is best hangs on what the others do"
    yield f"all honest  {standing(solution, players)}"


def standing(solution: Solution, players: int) -> str:
    """What is true of the profile in which nobody attacks."""
    if all(it.profile[0] != players for it in solution.equilibria):
        return "no equilibrium"
    count = len(solution.equilibria)
    return ONLY if count == 1 else f"one of {count} equilibria"


def conclude(found: Mapping[str, Solution], players: int, levels: int) -> Iterator[str]:
    """What can be said of Sec. 4.2, and the payoffs of G* that show it."""
    printed = found[PRINTED.name]
    told = standing(printed, players)
    yield f"Sec. 4.2 says that in G* nobody attacking is {ONLY}. It is {told}."
    for level in (0, levels):
        others = [other for other in range(levels + 1) if other != level]
        paid = ", ".join(f"{alone(level, other, players, levels)} at q_{other}" for other in others)
        yield f"all q_{level}: each gets {alone(level, level, players, levels)}; who moves alone gets {paid}"
    attacked = moved(moved((0,) * (levels + 1), players - 2, 0), 1, levels)
    yield (
        f"all q_0 but one at q_{levels}: each other one gets {PRINTED.payoff(0, moved(attacked, 1, 0))}, "
        f"and {PRINTED.payoff(levels, moved(attacked, 1, levels))} who joins the one"
    )
    for action, least in enumerate(printed.surely):
        if least == printed.greatest:
            # So every round of a repeated game's equilibrium pays everybody this: it is one of the equilibria of G*.
            yield f"q_{action} pays {least} whatever the others do, and nobody ever gets more"
            count = len(printed.equilibria)
            yield f"T rounds: any of the {count} equilibria in any round, {count}^T courses; one is honest throughout"
    holds = [game for game, solution in found.items() if standing(solution, players) == ONLY]
    yield f"The claim is true of: {'; '.join(holds) or 'none of them'}"


def alone(common: int, own: int, players: int, levels: int) -> Fraction:
    """What a player of dosage q_own gets in G* where all the others choose q_common."""
    others = moved((0,) * (levels + 1), players - 1, common)
    return PRINTED.payoff(own, moved(others, 1, own))


def name(profile: Crowd) -> str:
    """A profile in words."""
    taken = [(count, level) for level, count in enumerate(profile) if count]
    if len(taken) == 1:
        return f"all q_{taken[0][1]}"
    return " + ".join(f"{count} x q_{level}" for count, level in taken)


if __name__ == "__main__":
    launch(main)
