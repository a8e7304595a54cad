"""How models are replaced: ensembles, budget, side by side; and that nothing ends the watchdog silently."""

import queue
import threading
import time

import grpc
import psutil
import pytest
from unit.server.test_server import PYTHON, ensemble, parameter, write

from tritone.server import repository
from tritone.server.watching import watchdog
from tritone.server.watching.policy import Budget, BudgetSpent, Policy
from tritone.server.watching.readiness import Readiness
from tritone.server.watching.watchdog import Watchdog

BACK_WITHIN_S = 20
QUICK = Policy(canary_interval_s=0.0, hung_after_s=60.0)


class Refusal(grpc.RpcError):
    def __init__(self, code=grpc.StatusCode.INTERNAL):
        self._code = code

    def details(self):
        return "out of memory"

    def code(self):
        return self._code


class FakeControl:
    """Answers canaries from a list for each model, notes what is reloaded, and fails `failures` times."""

    def __init__(self, answers=None, states=(), failures=(), on_reload=None):
        self.answers, self._states, self.failures = dict(answers or {"tts": [DEAD]}), dict(states), list(failures)
        self.calls, self._on_reload = [], on_reload

    def ask(self, canary, decoupled):
        answers = self.answers.get(canary.model_name)
        return answers.pop(0) if answers else ""

    def states(self):
        return self._states

    def reload(self, model, timeout_s):
        self.calls.append(("reload", model))
        if self._on_reload:
            self._on_reload(model)
        if self.failures:
            raise self.failures.pop(0)

    def load(self, model, timeout_s):
        self.calls.append(("load", model))


DEAD = "INTERNAL: Stub process 'tts_0' is not healthy."
READY = {"tts": "READY", "assistant": "READY"}


@pytest.fixture
def models(tmp_path):
    tensor = 'input { name: "text" data_type: TYPE_STRING dims: [1] }'
    write(tmp_path, "tts", f"{PYTHON} {tensor}")
    write(tmp_path, "llava", f"{PYTHON} {tensor}")
    write(tmp_path, "assistant", ensemble("tts", "llava"))
    write(tmp_path, "pipeline", f"{parameter('calls', 'tts')} {tensor}")
    return repository.select(repository.read([tmp_path], "cpu"), [])


@pytest.fixture
def watched(models, monkeypatch):
    """Start a watchdog over the models with a fake control; yields a function that does so."""
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    running = []

    def start(access, policy=QUICK, say=None):
        said = queue.SimpleQueue()
        dog = Watchdog(psutil.Process(), access, models, policy, say or said.put, readiness=Readiness([], 30.0))
        dog.start()
        running.append(dog)
        return dog, said

    yield start
    for each in running:
        each.stop()


def until(condition):
    end = time.monotonic() + BACK_WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def until_back(said):
    """The lines that the watchdog says until a model is back."""
    lines = [said.get(timeout=BACK_WITHIN_S)]
    while "is back" not in lines[-1]:
        lines.append(said.get(timeout=BACK_WITHIN_S))
    return lines


def value(metric):
    return metric.labels("tts")._value.get()


def test_ensembles_that_did_not_follow_a_reload_are_loaded_too(watched):
    access = FakeControl(states=READY | {"assistant": "UNAVAILABLE"})
    dog, said = watched(access)
    until_back(said)
    assert access.calls == [("reload", "tts"), ("load", "assistant")]
    assert value(dog.metrics.restarts) == 1
    assert value(dog.metrics.up) == 1
    assert value(dog.metrics.restarted) > 0


def test_ensembles_that_followed_are_left_alone(watched):
    access = FakeControl(states=READY)
    _, said = watched(access)
    until_back(said)
    assert access.calls == [("reload", "tts")]


def test_a_reload_that_fails_is_reported_and_tried_again(watched):
    access = FakeControl(states=READY, failures=[Refusal(), Refusal()])
    dog, said = watched(access)
    lines = until_back(said)
    assert access.calls == [("reload", "tts")] * 3
    assert sum("did not load again: out of memory" in line for line in lines) == 2
    assert value(dog.metrics.restarts) == 1


def test_a_model_whose_load_hangs_keeps_no_other_waiting(watched):
    hangs, goes_on = threading.Event(), threading.Event()

    def on_reload(model):
        if model == "tts":
            hangs.set()
            assert goes_on.wait(BACK_WITHIN_S)

    access = FakeControl({"tts": [DEAD], "llava": [DEAD]}, on_reload=on_reload)
    _, said = watched(access)
    try:
        assert "'llava' is back" in until_back(said)[-1]
        assert hangs.wait(BACK_WITHIN_S)
        # The ensemble needs both: whoever is back last has it loaded.
        assert ("load", "assistant") not in access.calls
    finally:
        goes_on.set()
    assert "'tts' is back" in until_back(said)[-1]
    assert access.calls[-1] == ("load", "assistant")


def test_a_load_that_takes_too_long_is_for_whoever_runs_the_server(watched):
    access = FakeControl(failures=[Refusal(grpc.StatusCode.DEADLINE_EXCEEDED)])
    dog, _ = watched(access)
    until(lambda: dog.fatal)
    assert dog.fatal == "model 'tts' was not loaded again within 600 s"
    assert not dog._readiness.is_live()


def test_a_model_that_fails_again_and_again_is_for_whoever_runs_the_server(watched):
    access = FakeControl({"tts": [DEAD] * 9})
    dog, _ = watched(access, Policy(canary_interval_s=0.0, most_restarts=2))
    until(lambda: dog.fatal)
    assert dog.fatal.startswith("model 'tts' was restarted 2 times within 600 s and has failed again")
    assert access.calls.count(("reload", "tts")) == 2


def test_a_listener_that_fails_keeps_nobody_from_being_replaced(watched):
    def say(line):
        raise OSError("No space left on device")

    access = FakeControl(states=READY)
    dog, _ = watched(access, say=say)
    until(lambda: value(dog.metrics.restarts) == 1)
    assert dog.metrics.errors._value.get() >= 1
    assert dog.fatal == ""


def test_one_guard_that_raises_keeps_no_other_from_being_looked_at(watched, models, monkeypatch):
    monkeypatch.setattr(watchdog, "MOST_FAILED_LOOKS", 10**9)
    access = FakeControl({"llava": [DEAD]})
    dog, _ = watched(access)

    def broken(*_):
        raise RuntimeError("a defect of ours")

    dog._guards["tts"].fault = broken
    until(lambda: ("reload", "llava") in access.calls)
    assert dog.metrics.errors._value.get() >= 1


def test_a_watchdog_that_cannot_look_any_more_says_so(watched, monkeypatch):
    monkeypatch.setattr(watchdog, "MOST_FAILED_LOOKS", 3)
    dog, _ = watched(FakeControl({}))
    dog._read_pulses = lambda: 1 / 0
    until(lambda: dog.fatal)
    assert "the watchdog has ended" in dog.fatal
    assert not dog._readiness.is_live()


def test_who_called_a_dead_model_is_looked_at_at_once(models, monkeypatch):
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    asked = []
    access = FakeControl()
    access.ask = lambda canary, decoupled: asked.append(canary.model_name) or ""
    dog = Watchdog(psutil.Process(), access, models, Policy(canary_interval_s=3600.0), lambda line: None)
    dog.start()
    try:
        dog._replace(dog._guards["tts"], "a test")
        until(lambda: asked)
        assert set(asked) == {"pipeline"}  # and neither llava, nor tts itself
    finally:
        dog.stop()


def test_a_budget_grows_its_pauses_and_ends():
    budget = Budget(Policy(most_restarts=4, restart_window_s=600))
    pauses = []
    for _ in range(4):
        pauses.append(budget.take("tts", 100.0))
        budget.ended("tts", 100.0)
    assert pauses == [0, 1, 2, 4]
    assert budget.left("tts", 100.0) == 0
    assert budget.left("llava", 100.0) == 4
    with pytest.raises(BudgetSpent, match="'tts' was restarted 4 times within 600 s"):
        budget.take("tts", 699.0)
    assert budget.take("tts", 701.0) == 0
