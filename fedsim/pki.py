"""python -m fedsim.pki DIR --clients 10: every key and certificate of a federation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedsim.commands import launch


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder for them")],
    clients: Annotated[int, typer.Option(min=1, help="how many clients get a key, with ids from 0")] = 10,
    host: Annotated[
        list[str] | None,
        typer.Option(help="a name or address of the server, beside localhost and 127.0.0.1; may be repeated"),
    ] = None,
) -> None:
    """Make the certificates of a server and the keys of its clients, for serve --tls and join --tls."""
    from fedsim.deployment.keys import make

    keys = make(folder, clients, host or [])
    print(f"{folder}: a certificate for the server and {clients} client keys; valid for a year")
    print(f"the server:  python -m fedsim.serve CONFIG --tls {folder}")
    print(f"client i:    give it {keys.authority.name} and client-i, nothing else")


if __name__ == "__main__":
    launch(main)
