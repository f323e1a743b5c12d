"""python -m fedsim.join --server HOST:8000 --client 3: a client of a federation, on this machine."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from fedsim.commands import launch
from fedsim.domain import Mistake


def main(
    server: Annotated[str, typer.Option(metavar="HOST:PORT", help="where python -m fedsim.serve listens")],
    client: Annotated[int, typer.Option(min=0, help="which client of the federation this is, from 0")],
    tls: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder with ca.crt and this client's key; see fedsim.pki")
    ] = None,
    attack: Annotated[str | None, typer.Option(metavar="NAME", help="be malicious, with this attack")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a setting of the attack; may be repeated")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="where this client's data lie")] = None,
    patience: Annotated[float, typer.Option(min=0, help="seconds to try while the server cannot be reached")] = 600.0,
) -> None:
    """Train for a server until it has no more work. Runs nothing that the server sends: only fedsim's own methods."""
    # Before flwr is loaded, which reads them then.
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ.setdefault("FLWR_LOG_LEVEL", "WARNING")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node_config: dict[str, Any] = {"partition-id": client}
    if data is not None:
        node_config["data-root"] = str(data)
    node_config |= _malice(attack, settings or [], client)

    from fedsim.app import app
    from fedsim.deployment.keys import Keys
    from fedsim.deployment.node import work
    from fedsim.deployment.session import Server

    authority = key = None
    if tls is not None:
        keys = Keys(tls)
        keys.require(keys.authority, keys.private(client))
        authority, key = keys.authority.read_bytes(), keys.private(client)
    if ":" not in server:
        raise Mistake(f"--server: {server!r} has no port; expected HOST:PORT, such as {server}:8000")

    def tell(line: str) -> None:
        print(f"client {client}: {line}", file=sys.stderr, flush=True)

    _warm_up()
    work(app, Server(server, authority, key), node_config, tell, patience)


def _warm_up() -> None:
    """Load what training needs before the server counts the seconds: a step of the smallest experiment there is."""
    from fedsim.build import TABLES, federation
    from fedsim.config.reading import read_text

    carrier = federation(read_text("", "fedsim's defaults", {}, TABLES)).carrier
    carrier.train([0], carrier.model.vector.clone(), 1)


def _malice(name: str | None, settings: list[str], client: int) -> dict[str, Any]:
    """The attack as an entry of the node's configuration; refuses what no attack section may hold."""
    if name is None:
        if settings:
            raise Mistake("--set: settings of what? name an --attack")
        return {}
    import tomli_w

    from fedsim.app import lone_attack
    from fedsim.build import TABLES
    from fedsim.config.reading import read_text

    attack: dict[str, Any] = {"name": name}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise Mistake(f"--set: {setting!r}: expected KEY=VALUE, such as epsilon=10.0")
        try:
            attack[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            attack[key.strip()] = text
    section = tomli_w.dumps(attack)
    read_text("", "command line", {"attack": lone_attack(section, client)}, TABLES)
    return {"attack": section}


if __name__ == "__main__":
    launch(main)
