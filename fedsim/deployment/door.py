"""The door before a SuperLink: what may be asked from outside, and how long an answer may wait."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SECRET = "x-fedsim-secret"
"""The header that opens everything."""

OPEN = ("/v1/fleet/", "/health")
"""What a node may reach. By itself, an open-source SuperLink lets anyone who reaches its port register a key, and start
or stop a run."""

ASKS, TELLS = "/v1/fleet/pull-messages", ("/v1/runtime/push-messages", "/v1/runtime/push-object")
"""The request in which a node asks for work, and those that bring work."""

READY = "/v1/runtime/pull-task-input"
"""The request with which the Grid's process takes up its run, the last step before nodes may come."""

EMPTY = 10.0
"""Seconds for which a node's question waits for work before it is answered with none."""

SETTLED = 0.02
"""Seconds after the last piece of work came in until waiting nodes are told. A message's parts come one by one, and
nodes that ask for one that is not there yet slow it down."""

LARGEST = 256 * 2**20
"""Bytes of the largest request. Flower cuts arrays into pieces far below that."""


@dataclass
class Door:
    """An ASGI application that shuts ``app`` to strangers, and holds a node's question for work until there is some.

    Nodes are put off until the clients' keys are registered and the run has begun.
    """

    app: App
    secret: str
    _ready: bool = False
    _work: asyncio.Event = field(default_factory=asyncio.Event)
    _telling: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        path: str = scope["path"]
        known = hmac.compare_digest(headers.get(SECRET.encode(), b""), self.secret.encode())
        if not known and not path.startswith(OPEN):
            await _answer(send, 404)
        elif not known and not self._ready and path != "/health":
            await _answer(send, 503)
        elif not headers.get(b"content-length", b"0").isdigit() or b"transfer-encoding" in headers:
            await _answer(send, 411)
        elif int(headers.get(b"content-length", b"0")) > LARGEST:
            await _answer(send, 413)
        elif path == ASKS:
            await self._hold(scope, receive, send)
        else:
            await self.app(scope, receive, send)
            self._ready = self._ready or path == READY
            if path in TELLS:
                if self._telling is not None:
                    self._telling.cancel()
                self._telling = asyncio.get_running_loop().call_later(SETTLED, self._tell)

    def _tell(self) -> None:
        self._work.set()
        self._work = asyncio.Event()

    async def _hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask again whenever work came in, until there is an answer that says something or the time is up."""
        question = await _whole(receive)
        end = asyncio.get_running_loop().time() + EMPTY
        while True:
            work = self._work
            answer: list[Event] = []
            await self.app(dict(scope), _replay(question, receive), _into(answer))
            left = end - asyncio.get_running_loop().time()
            said = any(event.get("body") for event in answer) or answer[0].get("status") != 200
            if said or left <= 0:
                break
            if await _hung_up(receive, work, left):
                return  # Nobody hears the answer: work handed out now would be lost.
        for event in answer:
            await send(event)


async def _hung_up(receive: Receive, work: asyncio.Event, seconds: float) -> bool:
    """Wait for work; whether the asking side went away meanwhile."""
    told, gone = asyncio.ensure_future(work.wait()), asyncio.ensure_future(receive())
    try:
        done, _ = await asyncio.wait((told, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        gone.cancel()
    return gone in done


async def _whole(receive: Receive) -> bytes:
    body = b""
    while True:
        event = await receive()
        body += bytes(event.get("body", b""))
        if not event.get("more_body", False):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    asked = False

    async def once() -> Event:
        nonlocal asked
        if asked:
            return await receive()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


def _into(events: list[Event]) -> Send:
    async def keep(event: Event) -> None:
        events.append(event)

    return keep


async def _answer(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
