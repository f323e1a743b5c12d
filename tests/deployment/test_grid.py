"""The Grid on our SuperLink: Ctrl-C does not leave half a message behind."""

from __future__ import annotations

import signal

import pytest

from fedsim.deployment.grid import _uninterrupted


def test_ctrl_c_comes_after_the_block() -> None:
    done = []

    def interrupted() -> None:
        with _uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["all of it"]


def test_without_ctrl_c_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is before
