"""The SuperLink's own process, python -m fedsim.deployment.link: started and told what to do by ``superlink``."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from dataclasses import asdict, dataclass

from fedsim.deployment.door import Door


@dataclass(frozen=True)
class LinkSettings:
    """What the process is told.

    Fields:
        listening: file descriptor of the socket to serve, bound and inherited.
        secret: opens what nodes must not reach.
        authority, certificate, key: paths of TLS files; all None without TLS, and then nodes need no key either.
    """

    listening: int
    secret: str
    authority: str | None
    certificate: str | None
    key: str | None

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
    door = Door(create_app(config, SuperLinkLifespan), settings.secret)
    running = uvicorn.Config(
        door,
        log_level="warning",
        access_log=False,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        # A node may think for minutes between two requests, and a new TLS connection costs both sides.
        timeout_keep_alive=300,
    )
    uvicorn.Server(running).run(sockets=[socket.socket(fileno=settings.listening)])


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
