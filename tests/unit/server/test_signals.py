"""The first signal asks to stop, the second to stop at once; nohup is left in peace."""

import os
import signal

import pytest

from tritone.server.signals import Signals

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def restored():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_second_signal_ends_the_patience():
    signals = Signals()
    signals.listen()
    assert not signals.wait(0.0)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.wait(60.0)
    assert (signals.asked(), signals.again()) == (True, False)
    os.kill(os.getpid(), signal.SIGINT)
    signals.pause(60.0)
    assert signals.again()


def test_a_hangup_that_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Signals().listen()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
