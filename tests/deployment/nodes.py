"""A client process for tests that loads no torch: honest, or failing in one way."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedsim.commands import launch
from fedsim.deployment import node, session
from fedsim.deployment.keys import Keys
from fedsim.transport import decode, encode

PATIENCE = 60.0


def app(mode: str, client: int) -> ClientApp:
    """Answers hello, and orders with a row full of its id; or fails as ``mode`` says."""
    made = ClientApp()

    @made.query()
    def hello(message: Message, context: Context) -> Message:
        if mode == "mute":
            time.sleep(3600)
        return Message(RecordDict({"client": MetricRecord({"client": client})}), reply_to=message)

    @made.train()
    def train(message: Message, context: Context) -> Message:
        if mode == "killed before":
            os._exit(9)
        if mode == "silent":
            time.sleep(3600)
        if mode == "raises":
            raise ValueError("no data today")
        theta = decode(message.content.array_records["arrays"]["theta"])
        row = np.full(len(theta), client, dtype=np.float32)
        content = RecordDict(
            {
                "arrays": ArrayRecord({"theta": encode(row)}),
                "metrics": MetricRecord({"examples": 1, "loss": 0.0}),
            }
        )
        return Message(content, reply_to=message)

    return made


def fail_in_upload(mode: str) -> None:
    """Make this process die in the middle of its next upload of a row, or right after it."""
    push = session.push_objects

    def dying(objects: dict[str, object], *arguments: object, **named: object) -> None:
        if any(type(part).__name__ == "ArrayRecord" for part in objects.values()):
            if mode == "killed during":
                os._exit(9)
            push(objects, *arguments, **named)
            os._exit(9)
        push(objects, *arguments, **named)

    session.push_objects = dying


def main(
    mode: str,
    address: str,
    client: int,
    folder: Annotated[str, typer.Argument()] = "",
    patience: Annotated[float, typer.Argument()] = PATIENCE,
) -> None:
    """Work until the server says farewell."""
    server = session.Server(address)
    if folder:
        keys = Keys(Path(folder))
        server = session.Server(address, keys.authority.read_bytes(), keys.private(client))
    if mode in ("killed during", "killed after"):
        fail_in_upload(mode)
    node.work(app(mode, client), server, {"partition-id": client}, lambda line: print(line, flush=True), patience)


if __name__ == "__main__":
    launch(main)
