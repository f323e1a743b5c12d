"""python -m fedsim.config --schema: the JSON schema of configurations, for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedsim.commands import launch
from fedsim.config import read, to_toml
from fedsim.config.schema import schema
from fedsim.domain import Mistake


def main(
    config: Annotated[Path | None, typer.Argument(help="print this configuration resolved")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    as_schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema")] = False,
) -> None:
    """Print the JSON schema of configurations, or one configuration with every default filled in."""
    from fedsim.build import TABLES

    if as_schema:
        print(json.dumps(schema(TABLES), indent=2))
    elif config is not None:
        print(to_toml(read(config, overrides or [], TABLES).config), end="")
    else:
        raise Mistake("nothing to print: name a configuration, or ask for --schema")


if __name__ == "__main__":
    launch(main)
