"""A SuperLink of this process's own, and the Grid on it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from flwr.app import Message

from fedsim.deployment import FAREWELL
from fedsim.deployment.grid import LinkGrid, SecretInterceptor
from fedsim.deployment.keys import Keys, load_public
from fedsim.deployment.link import LinkSettings
from fedsim.domain import Mistake
from fedsim.engine.exchange import once
from fedsim.flower_internals import (
    ControlHttpClient,
    HeartbeatSender,
    RuntimeHttpClient,
    RuntimeVersionHttpInterceptor,
    TaskIdentity,
    TaskType,
    build_fab_from_files,
    control_pb2,
    fab_pb2,
    make_task_heartbeat_fn_http,
    public_key_to_bytes,
    run_from_proto,
    runtime_pb2,
)

PARTING = 3.0
"""Seconds that nodes get to hear it."""

STARTUP = 60.0
"""Seconds a SuperLink may take to come up."""


@contextlib.contextmanager
def superlink(
    host: str, port: int, keys: Keys | None = None, client_app: str = "fedsim.app:app", answers: int = 1
) -> Iterator[LinkGrid]:
    """A SuperLink that listens on ``host``:``port`` (0: any free one), and a Grid with a run started on it.

    With ``keys``, it speaks TLS and lets in only nodes whose public keys are in that folder. ``client_app`` is what
    stock SuperNodes load, from their own installed package; nodes of ours bring their own. ``answers`` says with how
    many models clients answer one, which bounds what is taken in. It lives in a child process,
    which ends with this one whatever happens and leaves nothing behind. On the way out, nodes of ours are told that
    there is no more work.
    """
    if keys is not None:
        keys.require(keys.authority, keys.certificate, keys.key)
    secret = secrets.token_urlsafe(32)
    listening = _listen(host, port)
    authority = None if keys is None else keys.authority.read_bytes()
    address = f"{_reachable(host)}:{listening.getsockname()[1]}"
    with _child(listening, secret, keys, answers) as (child, log), contextlib.ExitStack() as stack:
        _wait_until_up(child, log, address, authority)
        _start_run(address, authority, secret, keys, client_app)
        grid = stack.enter_context(_grid(address, authority, secret, keys is not None, answers))
        stack.callback(_say_farewell, grid, child)
        yield grid


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except socket.gaierror as error:
        raise Mistake(f"--host: {host!r} is no address of this machine") from error
    except OSError as error:
        raise Mistake(f"--port: cannot listen on {host}:{port}: {error.strerror}") from error


def _reachable(host: str) -> str:
    """Where this process itself reaches what listens on ``host``."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if ":" in host:
        return "[::1]" if host == "::" else f"[{host}]"
    return host


@contextlib.contextmanager
def _child(
    listening: socket.socket, secret: str, keys: Keys | None, answers: int
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The process, and the file it logs to."""
    settings = LinkSettings(
        listening=listening.fileno(),
        secret=secret,
        authority=None if keys is None else str(keys.authority.resolve()),
        certificate=None if keys is None else str(keys.certificate.resolve()),
        key=None if keys is None else str(keys.key.resolve()),
        answers=answers,
    )
    with tempfile.TemporaryDirectory(prefix="fedsim-") as home:
        log = Path(home) / "superlink.log"
        quiet = {
            "FLWR_HOME": home,
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_LOG_LEVEL": "WARNING",
        }
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "fedsim.deployment.link"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listening.fileno()],
                env={**os.environ, **quiet},
                # Ctrl-C in a terminal goes to every process of it; this one still has to pass on the farewell.
                start_new_session=True,
            )
        listening.close()
        assert child.stdin is not None
        try:
            child.stdin.write(settings.line())
            child.stdin.flush()
            yield child, log
        finally:
            with contextlib.suppress(OSError):
                child.stdin.close()
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_until_up(child: subprocess.Popen[bytes], log: Path, address: str, authority: bytes | None) -> None:
    import httpx

    end = time.monotonic() + STARTUP
    scheme, verify = ("http", False) if authority is None else ("https", _trusting(authority))
    while child.poll() is None and time.monotonic() < end:
        try:
            httpx.get(f"{scheme}://{address}/health", verify=verify, timeout=STARTUP)
        except httpx.ConnectError as error:
            if "certificate" in str(error).lower():
                raise Mistake(
                    f"--tls: the server's certificate is not for {address}: make one with python -m fedsim.pki --host"
                ) from error
            time.sleep(0.05)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the SuperLink did not come up (exit code {child.poll()}):\n{log.read_text()[-2000:]}")


def _trusting(authority: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    return context


def _start_run(address: str, authority: bytes | None, secret: str, keys: Keys | None, client_app: str) -> None:
    """Let the clients' keys in, each under its client's id, and start a run for the Grid to be of."""
    bundle, _ = build_fab_from_files({"pyproject.toml": _bundle(client_app).encode()})
    with ControlHttpClient.from_server_address(
        address, authority is None, authority, [SecretInterceptor(secret), RuntimeVersionHttpInterceptor("fedsim")]
    ) as control:
        for client in [] if keys is None else keys.clients():
            public = public_key_to_bytes(load_public(keys.public(client)))  # type: ignore[union-attr]
            control.RegisterNode(control_pb2.RegisterNodeRequest(public_key=public, name=str(client)))
        started = control.StartRun(control_pb2.StartRunRequest(fab=fab_pb2.Fab(content=bundle)))
    if not started.HasField("run_id"):
        raise RuntimeError("the SuperLink did not start a run")


def _bundle(client_app: str) -> str:
    """The app as stock SuperNodes get it: names to look up in their own installed fedsim, and no code."""
    return f"""\
[project]
name = "fedsim"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "fedsim"

[tool.flwr.app.components]
serverapp = "fedsim.deployment.serverapp:app"
clientapp = "{client_app}"
"""


@contextlib.contextmanager
def _grid(address: str, authority: bytes | None, secret: str, keyed: bool, answers: int) -> Iterator[LinkGrid]:
    """The Grid of the run that waits: this process takes its ServerApp's place."""
    with RuntimeHttpClient.from_server_address(
        address, authority is None, authority, [SecretInterceptor(secret), RuntimeVersionHttpInterceptor("fedsim")]
    ) as runtime:
        acquired = runtime.AcquireTask(runtime_pb2.AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
    grid = LinkGrid(address, authority, acquired.token, secret, keyed, answers)
    client = grid._runtime_client
    task = client.PullTaskInput(runtime_pb2.PullTaskInputRequest())
    TaskIdentity.task_id = task.task_id
    TaskIdentity.run_id = task.run.run_id
    TaskIdentity.node_id = task.context.node_id
    grid.set_run(run_from_proto(task.run))
    heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
    heartbeat.start()
    try:
        yield grid
    finally:
        heartbeat.stop()
        grid.close()


def _say_farewell(grid: LinkGrid, child: subprocess.Popen[bytes]) -> None:
    """Tell the nodes that are online that there is no more work, and give them a moment to hear it."""
    import httpx

    if child.poll() is not None:
        return
    try:
        farewells = [Message(once(), node, FAREWELL, ttl=PARTING, group_id="") for node in grid.get_node_ids()]
        waiting = set(grid.push_messages(farewells)) if farewells else set()
        end = time.monotonic() + PARTING
        while waiting and time.monotonic() < end:
            waiting -= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}
            time.sleep(0.05)
    except (httpx.HTTPError, OSError):
        pass  # The SuperLink is gone: the nodes notice by themselves.
