"""The first signal asks to stop, the second to stop at once; nohup and a shell's background are left in peace."""

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


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_nohup_or_a_shells_background_ignores_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    signals = Signals()
    signals.listen()
    os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_IGN
    assert not signals.asked()
