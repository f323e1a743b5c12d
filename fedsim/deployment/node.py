"""A node of a federation: keeps its ClientApp in memory, and works for a server until that says farewell."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fedsim.deployment.session import Away, Farewell, Server, Session
from fedsim.domain import Mistake

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp

QUICK, SLOW = 0.02, 1.0
"""Seconds between two questions for work: the first after some work, and the longest."""

LONGEST = 10.0
"""Seconds between two attempts to reach a server that is away."""


def work(
    app: ClientApp,
    server: Server,
    node_config: Mapping[str, str | int],
    tell: Callable[[str], None],
    patience: float,
) -> None:
    """Work for ``server`` until it says farewell; comes back to it whenever it was away.

    Nothing that the server sends is ever run: messages hold numbers and settings, and the work is ``app``'s. Raises
    Mistake when the server will never let this node in, and when it was away for ``patience`` seconds.
    """
    away_since, pause, told = time.monotonic(), 10 * QUICK, ""
    while True:
        try:
            with Session(server, node_config) as session:
                tell(f"{server.address}: joined, waiting for work")
                try:
                    _stay(session, app)
                finally:
                    away_since, pause, told = time.monotonic(), 10 * QUICK, ""
        except Farewell:
            tell(f"{server.address}: the server has no more work")
            return
        except Away as away:
            if time.monotonic() - away_since > patience:
                raise Mistake(f"{server.address}: {away}; gave up after {patience:g} seconds") from away
            if str(away) != told:
                told = str(away)
                tell(f"{server.address}: {away}; trying again")
            # Ten nodes that lost one server shall not come back in one moment.
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST)


def _stay(session: Session, app: ClientApp) -> None:
    pause = QUICK
    while True:
        asked = time.monotonic()
        if session.work(app):
            pause = QUICK
        elif time.monotonic() - asked < SLOW:
            # A server that does not hold the question until there is work.
            time.sleep(pause)
            pause = min(2 * pause, SLOW)
