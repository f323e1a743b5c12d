"""What python -m fedsim.join refuses: exit code 2 and one clear sentence, verbatim."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clients import ATTACKS
from fedsim.deployment.keys import make

ATTACK_NAMES = ", ".join(sorted(ATTACKS.entries))
HERE = ["--server", "localhost:1", "--client", "3"]


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the command changes for its process is undone."""
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    monkeypatch.setenv("FLWR_LOG_LEVEL", "WARNING")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


SERVERS = {
    "localhost": "--server: 'localhost' has no port; expected HOST:PORT, such as localhost:8000",
    "": "--server: '' has no port; expected HOST:PORT, such as localhost:8000",
    "[::1]": "--server: '[::1]' has no port; expected HOST:PORT, such as [::1]:8000",
    "::1:8000": "--server: '::1:8000' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "[::x]:8000": "--server: '[::x]:8000' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "localhost:": "--server: 'localhost:' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    ":8000": "--server: ':8000' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "localhost:http": "--server: 'localhost:http' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "localhost:-1": "--server: 'localhost:-1' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "http://localhost:80": "--server: 'http://localhost:80' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "me@localhost:80": "--server: 'me@localhost:80' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "localhost:80/x": "--server: 'localhost:80/x' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "local host:80": "--server: 'local host:80' is not HOST:PORT, such as localhost:8000 or [::1]:8000",
    "localhost:0": "--server: port 0 is out of range; must be from 1 to 65535",
    "localhost:65536": "--server: port 65536 is out of range; must be from 1 to 65535",
}

SENTENCES = {
    "a negative client": (
        ["--server", "localhost:1", "--client", "-1"],
        "--client: -1 is out of range; must be at least 0",
    ),
    "negative patience": ([*HERE, "--patience", "-1"], "--patience: -1.0 is out of range; must be at least 0"),
    "patience without end": ([*HERE, "--patience", "nan"], "--patience: nan is out of range; must be at least 0"),
    "no data": ([*HERE, "--data", "nowhere"], "--data: no folder 'nowhere'"),
    "a file for data": ([*HERE, "--data", "small.toml"], "--data: no folder 'small.toml'"),
    "settings of nothing": ([*HERE, "--set", "epsilon=3"], "--set: settings of what? name an --attack"),
    "no setting": (
        [*HERE, "--attack", "ipm", "--set", "epsilon"],
        "--set: 'epsilon': expected KEY=VALUE, such as epsilon=10.0",
    ),
    "a setting with an option of its own": (
        [*HERE, "--attack", "ipm", "--set", "clients=4"],
        "--set: clients: is for --client to say",
    ),
    "an unknown attack": (
        [*HERE, "--attack", "sing_flip"],
        f"command line: attack.name: unknown attack 'sing_flip' (did you mean 'sign_flip'?); known: {ATTACK_NAMES}",
    ),
    "an unknown key": (
        [*HERE, "--attack", "ipm", "--set", "epsilom=3"],
        "command line: attack.epsilom: unknown key (did you mean 'epsilon'?); known: "
        "clients, epsilon, every, knowledge, late, name, probability, start, stealth, stealth_final, stop",
    ),
    "a value of the wrong type": (
        [*HERE, "--attack", "ipm", "--set", "epsilon=much"],
        "command line: attack.epsilon: expected a number, got 'much'",
    ),
    "an attack of one's own": (
        [*HERE, "--attack", "mine:Attack"],
        f"--attack: 'mine:Attack': only fedsim's own; known: {ATTACK_NAMES}",
    ),
    "an attack that must see others": (
        [*HERE, "--attack", "alie"],
        'command line: attack: alie needs knowledge "honest": it takes a spread from at least 2 updates, '
        "and its own clients are 1; granted: 'own'",
    ),
    "knowledge that is not to be had": (
        [*HERE, "--attack", "ipm", "--set", "knowledge=honest"],
        'attack.knowledge: "honest" is not to be had: a client on its own sees only its own data and the broadcast; '
        'allowed: "own"',
    ),
    "no keys": ([*HERE, "--tls", "pki"], "--tls: pki/ca.crt cannot be read; python -m fedsim.pki pki makes it"),
    "no key of this client": (
        [*HERE, "--tls", "keys"],
        "--tls: keys/client-3 cannot be read; it is to be had where keys/ca.crt comes from",
    ),
    "a key open to others": (
        ["--server", "localhost:1", "--client", "1", "--tls", "keys"],
        "--tls: keys/client-1 is a private key that is open to others (mode 0644); "
        "chmod 600 keys/client-1 makes it its owner's alone",
    ),
    "no key": (
        ["--server", "localhost:1", "--client", "0", "--tls", "keys"],
        "--tls: keys/client-0 is no OpenSSH private key without a passphrase",
    ),
    "no certificate": (
        ["--server", "localhost:1", "--client", "0", "--tls", "torn"],
        "--tls: torn/ca.crt is no certificate in PEM",
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_malformed_server_is_one_sentence(command: Callable[..., Any], server: str) -> None:
    ended = command("join", "--server", server, "--client", 0)
    assert (ended.code, ended.err, ended.out) == (2, SERVERS[server] + "\n", "")


@pytest.mark.parametrize("case", SENTENCES)
def test_wrong_input_is_one_sentence(
    command: Callable[..., Any], small: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedsim.join._warm_up", lambda: pytest.fail("the user waits for what could be told at once"))
    keys = make(tmp_path / "keys", 2, [])
    keys.private(0).write_text("nothing of the kind", encoding="utf-8")
    keys.private(1).chmod(0o644)
    torn = make(tmp_path / "torn", 1, [])
    torn.authority.write_text("nothing of the kind", encoding="utf-8")
    arguments, sentence = SENTENCES[case]
    ended = command("join", *arguments)
    assert (ended.code, ended.err, ended.out) == (2, sentence + "\n", "")


def test_a_server_that_is_not_there(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsim.join._warm_up", lambda: None)
    ended = command("join", *HERE, "--patience", 0)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("localhost:1: cannot be reached (")
    assert ended.err.endswith("); gave up after 0 seconds\n")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    "server", ["localhost:8000", "10.0.0.5:1", "[::1]:65535", "fed_1.example.org:80", "bücher.de:80"]
)
def test_what_is_host_and_port_is_taken(server: str) -> None:
    from fedsim.join import _check_address

    _check_address(server)
