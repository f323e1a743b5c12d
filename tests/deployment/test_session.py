"""A node's stay with a server: it says why it does not begin, survives trouble, and comes back."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from fedsim.deployment import keys as keys_module
from fedsim.deployment import node, session
from fedsim.deployment.asking import Away, Barred, Server
from fedsim.deployment.keys import Keys, load_authority
from fedsim.deployment.session import Farewell, Session
from tests.deployment.fake_link import Answer, FakeLink, farewell, order
from tests.deployment.loopback import until
from tests.deployment.staying import A_PAGE, HANGS_UP, KEYS_ONLY, NO_ENTRY, RUN_IS_OVER, app, stay, visit


@pytest.mark.parametrize("request_", ["register-node", "activate-node"])
@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ((403, b""), Away, "answered 403"),
        (RUN_IS_OVER, Away, "answered 403 (So it is.)"),
        ((500, b""), Away, "answered 500"),
        (NO_ENTRY, Away, "does not let this client in: its key is not registered there, or another process uses it"),
        (KEYS_ONLY, Barred, "lets in registered keys only; join with --tls DIR"),
        (A_PAGE, Away, "does not answer as a server of fedsim does"),
        (HANGS_UP, Away, "cannot be reached"),
    ],
)
def test_a_session_that_does_not_begin_says_why_and_lets_go(
    link: FakeLink, request_: str, answer: Answer, kind: type[Away], reason: str
) -> None:
    link.says[request_] = deque([answer])
    made = Session(Server(link.address), {}, print)
    with pytest.raises(Away) as raised, made:
        pass
    assert type(raised.value) is kind
    assert str(raised.value).startswith(reason)
    assert made._client._client.is_closed


def test_a_node_that_is_refused_gives_up_when_its_patience_is_over(link: FakeLink) -> None:
    link.says["activate-node"] = deque([(403, b"")] * 1000)
    assert visit(link, 0.5) == ["answered 403; trying again", "answered 403; gave up after 0.5 seconds"]


@pytest.mark.parametrize("answer", [(403, b""), RUN_IS_OVER, (500, b""), (401, b""), A_PAGE, HANGS_UP])
def test_a_node_that_is_let_in_and_then_refused_pauses_and_gives_up(link: FakeLink, answer: Answer) -> None:
    link.says["pull-messages"] = deque([answer] * 100)
    link.messages.append(farewell())
    told = visit(link, 1.0)
    assert told[0] == "joined, waiting for work"
    assert told[-1].endswith("; gave up after 1 seconds")
    assert len(told) == 3
    assert link.asked.count("pull-messages") <= 5


@pytest.mark.parametrize("answer", [(403, b""), (401, b""), (500, b""), (503, b""), A_PAGE, HANGS_UP])
@pytest.mark.parametrize(
    "request_", ["pull-messages", "pull-object", "confirm-message-received", "push-messages", "push-object"]
)
def test_a_node_comes_back_after_any_trouble(link: FakeLink, request_: str, answer: Answer) -> None:
    link.says[request_] = deque([answer])
    link.messages += [order(1), order(2), farewell()]
    told = visit(link)
    assert told[0] == "joined, waiting for work"
    assert told[1].endswith("; trying again")
    assert told[-1] == "the server has no more work"
    assert len(link.taken) == (3 if request_ == "pull-messages" else 2)


def test_a_node_says_goodbye_to_a_server_that_answers_wrongly(link: FakeLink) -> None:
    """A server that still knows it would not let it in again before its time is over."""
    link.says["pull-messages"] = deque([(500, b"")])
    link.messages.append(farewell())
    visit(link)
    assert link.asked[:5] == ["register-node", "activate-node", "pull-messages", "deactivate-node", "unregister-node"]


def test_a_server_that_never_let_this_node_in_is_given_up_at_once(link: FakeLink) -> None:
    link.says["register-node"] = deque([KEYS_ONLY])
    assert visit(link) == ["lets in registered keys only; join with --tls DIR"]
    assert link.asked == ["register-node"]


def test_a_server_that_let_this_node_in_is_waited_for_whatever_it_says_later(link: FakeLink) -> None:
    link.says = {
        "pull-messages": deque([(200, b""), (401, b"")]),
        "register-node": deque([(200, b""), KEYS_ONLY, KEYS_ONLY]),
    }
    link.messages.append(farewell())
    assert visit(link) == [
        "joined, waiting for work",
        "does not accept this node's signature: it was started anew, or a clock is wrong; trying again",
        "lets in registered keys only; join with --tls DIR; trying again",
        "joined, waiting for work",
        "the server has no more work",
    ]


@pytest.mark.usefixtures("identity")
def test_a_server_that_comes_back_with_another_certificate_is_waited_for(keys: Keys, tmp_path: Path) -> None:
    other = keys_module.make(tmp_path / "other", 1, [])
    link = FakeLink(keys)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if "is not vouched for" in line:
            link.certify(keys)
            link.messages.append(farewell())

    def restart() -> None:
        link.certify(other)
        link.says["pull-messages"] = deque([HANGS_UP])

    link.messages.append(order(1))
    server = Server(link.address, load_authority(keys.authority), keys.private(3))
    try:
        node.work(app(restart), server, {}, tell, 20.0)
    finally:
        link.close()
    assert "its certificate is not vouched for by the ca.crt of --tls" in told[1]
    assert told[1].endswith("; trying again")
    assert told[-1].endswith("the server has no more work")


def test_a_farewell_holds_though_nobody_hears_the_answer(link: FakeLink) -> None:
    link.messages.append(farewell())
    link.says["push-messages"] = deque([HANGS_UP])
    with pytest.raises(Farewell):
        stay(link, app(), 1)


def test_signs_of_life_go_on_whatever_they_are_answered(link: FakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BEAT", 0.01)
    link.says["send-node-heartbeat"] = deque([A_PAGE, (500, b""), HANGS_UP])
    with Session(Server(link.address), {}, print):
        until(lambda: link.asked.count("send-node-heartbeat") > 4, 10, lambda: str(link.asked))
