"""Flower's simulation engine: every client a node on Ray, on this machine or a cluster."""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from fedsim.config import Config
from fedsim.domain import Mistake

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid

T = TypeVar("T")
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Nothing phones home."""


def on_ray(config: Config, stop: threading.Event, play: Callable[[Grid], T]) -> T:
    """``play`` with a grid of ``config.clients.count`` nodes, each one client; what it returns or raises.

    Flower runs it in a thread of its own: Ctrl-C sets ``stop``, and the answer is awaited.
    """
    if importlib.util.find_spec("ray") is None:
        raise Mistake('engine.carrier: "flower" needs Ray; install it with: pip install "fedsim[ray]"')
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    from flwr.serverapp import ServerApp
    from flwr.simulation import run_simulation

    from fedsim.app import trusting

    logging.getLogger("flwr").setLevel(logging.ERROR)
    done: list[T] = []
    failed: list[BaseException] = []
    ended = threading.Event()
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            done.append(play(grid))
        except BaseException as error:
            failed.append(error)
        finally:
            ended.set()

    backend: dict[str, Any] = {
        "init_args": {"include_dashboard": False},
        "client_resources": {"num_cpus": config.engine.threads, "num_gpus": 0.0},
    }
    if config.engine.address is not None:
        backend["init_args"]["address"] = config.engine.address
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            run_simulation(
                app,
                trusting,
                num_supernodes=config.clients.count,
                backend_config=backend,
            )
    except KeyboardInterrupt:
        stop.set()
        ended.wait(60)
    if failed:
        raise failed[0]
    if not done:
        raise KeyboardInterrupt
    return done[0]
