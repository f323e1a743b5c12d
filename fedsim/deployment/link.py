"""The SuperLink's own process, python -m fedsim.deployment.link: started and told what to do by ``superlink``."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from base64 import b64decode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fedsim.deployment.asgi import Headers
from fedsim.deployment.door import Door

SPARE = 128
"""Open files that the process needs beside the connections from outside."""

LOG = 1 << 26
"""Bytes of the largest file that the process may write, and it writes its log: strangers can add lines to it."""


@dataclass(frozen=True)
class LinkSettings:
    """What the process is told.

    Fields:
        listening: file descriptor of the socket to serve, bound and inherited.
        secret: opens what nodes must not reach.
        authority, certificate, key: paths of TLS files; all None without TLS, and then nodes need no key either.
        answers: with how many models a client answers one.
    """

    listening: int
    secret: str
    authority: str | None
    certificate: str | None
    key: str | None
    answers: int = 1

    def line(self) -> bytes:
        """As the process reads it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main() -> None:
    """Serve until stdin ends, which it does when the parent lets go of it or dies."""
    settings = LinkSettings(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    serve(settings)


def serve(settings: LinkSettings) -> None:
    """Run a SuperLink on the inherited socket."""
    import uvicorn
    from starlette.middleware import Middleware

    from fedsim.deployment.connection import CROWD, Connection
    from fedsim.deployment.guard import Guard
    from fedsim.deployment.store import bound
    from fedsim.flower_internals import (
        NoOpControlAuthnPlugin,
        SuperLinkLifespan,
        SuperLinkLifespanConfig,
        create_app,
    )

    config = SuperLinkLifespanConfig(
        control_address="",
        health_server_address=None,
        host="127.0.0.1",
        port=0,
        insecure=settings.certificate is None,
        certificates=None,
        superexec_auth_secret=None,
        authn_plugin=NoOpControlAuthnPlugin(),
        event_log_plugin=None,
        fleet_event_log_plugin=None,
        enable_event_log=False,
        artifact_provider=None,
        enable_supernode_auth=settings.certificate is not None,
        fleet_api_type="grpc-rere",
        fleet_api_address=None,
        simulation=False,
        ssl_ca_certfile=settings.authority,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        database=":flwr-in-memory:",
        # No process of Flower's own may take the ServerApp's task: it is the parent's.
        isolation="process",
        runtime_dependency_install=False,
    )
    app = create_app(config, SuperLinkLifespan)
    # The innermost: Flower has checked by then who is asking.
    app.user_middleware.append(Middleware(Guard, store=bound(app), answers=settings.answers))
    Connection.crowd = min(CROWD, _limit_files(2 * CROWD) - SPARE)
    running = uvicorn.Config(
        Door(app, settings.secret, _signer(app)),
        http=Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        # A node may think for minutes between two requests, and a new TLS connection costs both sides.
        timeout_keep_alive=300,
    )
    uvicorn.Server(running).run(sockets=[socket.socket(fileno=settings.listening)])


def _limit_files(wanted: int) -> int:
    """Keep the log small and ask for ``wanted`` open files; how many there may be."""
    import resource

    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (LOG, LOG))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless:
        return wanted
    more = max(soft, wanted if hard == endless else min(wanted, hard))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _signer(app: Any) -> Callable[[Headers], bytes | None]:
    """Which registered node signed a request, read off its headers, before anything else of it has come."""
    from fedsim.flower_internals import (
        FLEET_HTTP_PUBLIC_KEY_HEADER,
        FLEET_HTTP_SIGNATURE_HEADER,
        TIMESTAMP_HEADER,
        bytes_to_public_key,
        verify_signature,
    )

    state = app.state.linkstate_factory.state()

    def signer(headers: Headers) -> bytes | None:
        try:
            key = b64decode(headers[FLEET_HTTP_PUBLIC_KEY_HEADER.encode()], validate=True)
            signature = b64decode(headers[FLEET_HTTP_SIGNATURE_HEADER.encode()], validate=True)
            signed = headers[TIMESTAMP_HEADER.encode()]
            # How old the signature may be is Flower's to say.
            known = state.get_node_id_by_public_key(key) is not None
            return key if known and verify_signature(bytes_to_public_key(key), signed, signature) else None
        except (KeyError, ValueError, TypeError):
            return None

    return signer


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
