"""The door before the SuperLink: shut to strangers, patient with nodes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fedsim.deployment import door
from fedsim.deployment.door import ASKS, READY, SECRET, TELLS, Door


class Link:
    """A SuperLink that hands out whatever lies in ``work`` and notes what it is asked."""

    def __init__(self) -> None:
        self.work: list[bytes] = []
        self.asked: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append((scope["path"], (await receive()).get("body", b"")))
        body = self.work.pop() if scope["path"] == ASKS and self.work else b""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def ask(
    app: Door, path: str, secret: str = "", headers: tuple[tuple[bytes, bytes], ...] = (), hangs_up: bool = False
) -> tuple[int, bytes] | None:
    """The answer's status and body; None if there is none."""
    events: list[dict[str, Any]] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked and not hangs_up:
            await asyncio.sleep(3600)
        if asked:
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"question", "more_body": False}

    async def send(event: Any) -> None:
        events.append(event)

    named = ((SECRET.encode(), secret.encode()),) if secret else ()
    await app({"type": "http", "path": path, "headers": [*headers, *named]}, receive, send)
    return (events[0]["status"], events[1]["body"]) if events else None


def opened() -> tuple[Door, Link]:
    link = Link()
    made = Door(link, "secret")
    asyncio.run(ask(made, READY, "secret"))
    link.asked.clear()
    return made, link


@pytest.mark.parametrize(
    "path", ["/v1/control/register-node", "/v1/runtime/acquire-task", "/docs", "/", "/v1//fleet/pull-messages"]
)
def test_strangers_find_nothing(path: str) -> None:
    app, link = opened()
    for secret in ("", "Secret", "secret "):
        assert asyncio.run(ask(app, path, secret)) == (404, b"")
    assert link.asked == []
    assert asyncio.run(ask(app, path, "secret")) == (200, b"")


def test_nodes_are_put_off_until_the_run_has_begun() -> None:
    link = Link()
    app = Door(link, "secret")
    assert asyncio.run(ask(app, "/v1/fleet/activate-node")) == (503, b"")
    assert asyncio.run(ask(app, "/health")) == (200, b"")
    asyncio.run(ask(app, READY, "secret"))
    assert asyncio.run(ask(app, "/v1/fleet/activate-node")) == (200, b"")


def test_a_request_says_how_large_it_is_and_is_not_too_large() -> None:
    app, link = opened()
    for headers, status in (
        (((b"content-length", str(door.LARGEST + 1).encode()),), 413),
        (((b"content-length", b"many"),), 411),
        (((b"transfer-encoding", b"chunked"),), 411),
    ):
        assert asyncio.run(ask(app, "/v1/fleet/push-object", headers=headers)) == (status, b"")
    assert link.asked == []


def test_a_question_for_work_waits_until_there_is_some() -> None:
    app, link = opened()

    async def play() -> tuple[int, bytes] | None:
        waiting = asyncio.create_task(ask(app, ASKS))
        await asyncio.sleep(0.05)
        link.work.append(b"work")
        await ask(app, TELLS[0], "secret")
        return await asyncio.wait_for(waiting, 1)

    assert asyncio.run(play()) == (200, b"work")
    assert link.asked == [(ASKS, b"question"), (TELLS[0], b"question"), (ASKS, b"question")]


def test_a_question_for_work_is_answered_with_none_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "EMPTY", 0.1)
    app, _ = opened()
    assert asyncio.run(ask(app, ASKS)) == (200, b"")


def test_no_work_is_handed_to_a_node_that_hung_up() -> None:
    app, link = opened()

    async def play() -> tuple[int, bytes] | None:
        waiting = asyncio.create_task(ask(app, ASKS, hangs_up=True))
        await asyncio.sleep(0.1)
        link.work.append(b"work")
        await ask(app, TELLS[0], "secret")
        return await asyncio.wait_for(waiting, 1)

    assert asyncio.run(play()) is None
    assert link.work == [b"work"]
