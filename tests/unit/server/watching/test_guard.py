"""What counts as a fault of a model: dead, ill, frozen or stuck; and that busy does not."""

from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tritone.pulse import Pulse
from tritone.server.repository import Model
from tritone.server.watching.guard import TRIES, Guard
from tritone.server.watching.policy import Policy

PID = 7
IDLE = Pulse("tts", PID, True, 0.0, 0, 0, 0.0, 0.0, 0, 0.0, 0.0, 0, 0.0, 0, "")
POLICY = Policy(canary_interval_s=5, deep_interval_s=60, hung_after_s=120)


class Stub:
    """A process that lives or is a zombie."""

    pid = PID
    dead = False

    def status(self):
        return psutil.STATUS_ZOMBIE if self.dead else psutil.STATUS_SLEEPING


class Canaries:
    """Answers canaries at once with `answer`, or not at all while that is None."""

    def __init__(self):
        self.answer, self.sent = "", []

    def submit(self, ask, request, decoupled):
        self.sent.append(request.parameters["canary"].string_param or "plain")
        future = Future()
        if self.answer is not None:
            future.set_result(self.answer)
        return future


@pytest.fixture
def canaries():
    return Canaries()


@pytest.fixture
def guard(tmp_path, canaries, monkeypatch):
    config = text_format.Parse(
        'backend: "python" input { name: "text" data_type: TYPE_STRING dims: [1] }', model_config_pb2.ModelConfig()
    )
    monkeypatch.setattr(Guard, "_children", lambda self: [Stub()])
    monkeypatch.setattr(Guard, "_is_mine", lambda self, process: True)
    access = type("Access", (), {"ask": None})
    return Guard(Model("tts", tmp_path, config), None, access, POLICY, canaries)


@pytest.fixture
def two(guard, monkeypatch):
    """A model of two processes."""
    second = type("Second", (Stub,), {"pid": PID + 1})
    monkeypatch.setattr(Guard, "_children", lambda self: [Stub(), second()])
    guard.meet(0.0)
    return guard


def failing(canaries):
    """A pulse whose process fails each row for a deep canary."""
    rows = lambda now: canaries.sent.count("deep")  # noqa: E731
    return beating(probed=rows, failed=rows)


def watch(guard, seconds, pulse_at=None, below=lambda now: 0):
    """Look every second until something is wrong; returns (second, fault)."""
    for now in range(1, seconds):
        pulses = {PID: replace(pulse_at(now), pid=PID)} if pulse_at else {}
        if fault := guard.fault(pulses, now, below(now)):
            return now, fault
    return None


def beating(**state):
    """A pulse that beats, with fields that may be functions of the time."""
    return lambda now: replace(IDLE, beat=now, **{k: v(now) if callable(v) else v for k, v in state.items()})


def test_an_idle_model_is_well_for_ever(guard):
    assert watch(guard, 2000, beating()) is None


def test_a_zombie_is_noticed_at_the_next_look(guard):
    guard._stubs[0].dead = True
    assert guard.fault({}, 1.0) == f"stub process {PID} is dead"


def test_a_process_that_says_it_is_ill_is_replaced_at_once(guard):
    assert watch(guard, 9, beating(ill="CUDA error")) == (1, f"process {PID} is ill: CUDA error")


def test_a_frozen_process_is_noticed_by_its_beat(guard):
    second, fault = watch(guard, 500, lambda now: IDLE)
    assert 120 < second < 125
    assert "frozen" in fault


@pytest.mark.parametrize("work", [{"executing_since": 1.0}, {"in_flight": 1}])
def test_work_without_progress_is_hung(guard, work):
    second, fault = watch(guard, 500, beating(**work))
    assert 120 < second < 125
    assert "no progress" in fault


@pytest.mark.parametrize("work", [{"executing_since": 1.0}, {"in_flight": 1}])
def test_work_with_progress_is_busy_however_long_it_takes_and_its_canary_waits(guard, canaries, work):
    canaries.answer = None
    assert watch(guard, 2000, beating(progress=lambda now: now // 100, **work)) is None


def test_time_without_work_does_not_count(guard):
    assert watch(guard, 500, beating(in_flight=lambda now: int(now > 300))) == (
        422, f"process {PID} has work and made no progress for 121 s",
    )  # fmt: skip


def test_an_unanswered_canary_without_progress_is_hung(guard, canaries):
    canaries.answer = None
    second, fault = watch(guard, 500, beating())
    assert 120 < second < 130
    assert "no progress" in fault


def test_who_waits_for_a_model_below_is_not_hung_while_that_one_moves(guard):
    assert watch(guard, 1000, beating(in_flight=3), below=lambda now: now) is None
    assert watch(guard, 1000, beating(in_flight=3)) is not None


def test_who_executes_himself_is_hung_whatever_the_models_below_do(guard):
    assert watch(guard, 1000, beating(executing_since=1.0), below=lambda now: now) is not None


def test_without_a_pulse_the_canary_alone_decides(guard, canaries):
    assert watch(guard, 1000) is None
    assert len(canaries.sent) > 100
    assert set(canaries.sent) == {"plain"}
    canaries.answer = None
    guard.meet(0)
    assert "canary without answer" in watch(guard, 1000)[1]


def test_a_model_that_works_for_its_canary_spends_a_fiftieth_of_its_time_on_them(guard, canaries, monkeypatch):
    """Two seconds each, so that one every hundred is sent; a model of ours answers them without work."""
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr("tritone.server.watching.guard.time", SimpleNamespace(monotonic=lambda: clock.now))
    canaries.answer = None
    for clock.now in range(1000):
        finding = guard._finding
        if finding and not finding.done() and clock.now - guard._turn >= 2:
            finding.set_result("")
        assert guard.fault({}, clock.now) is None
    assert len(canaries.sent) == 10


def test_the_answer_to_a_canary_tells_a_dead_stub_and_other_errors_are_signs_of_life(guard, canaries):
    canaries.answer = "INTERNAL: some other trouble"
    assert watch(guard, 100) is None
    guard.meet(0)
    canaries.answer = "INTERNAL: Stub process 'tts_0' is not healthy."
    assert watch(guard, 100)[1] == "its stub is dead"


def test_a_model_that_nobody_asks_computes_a_row_now_and_then(guard, canaries):
    assert watch(guard, 305, beating()) is None
    assert 4 <= canaries.sent.count("deep") <= 5
    canaries.sent.clear()
    guard.meet(305)
    assert watch(guard, 305, beating(last_success=lambda now: float(now))) is None
    assert "deep" not in canaries.sent


def test_two_rows_that_fail_with_no_success_between_are_a_fault(guard, canaries):
    canaries.answer = "INTERNAL: model 'tts' failed (AcceleratorError)"
    second, fault = watch(guard, 500, failing(canaries))
    assert canaries.sent.count("deep") == 2
    assert 120 <= second < 140
    assert fault == f"process {PID} fails real work: INTERNAL: model 'tts' failed (AcceleratorError)"


def test_one_row_that_fails_is_forgiven(guard, canaries):
    assert watch(guard, 500, beating(failed=1)) is None


def test_of_two_processes_the_one_that_fails_is_found_though_the_other_answers_everybody(two, canaries):
    """Triton asks them in turn: every second deep canary is for the one that nobody needs to ask."""
    canaries.answer = "INTERNAL: model 'tts' failed (ValueError)"
    rows = [0, 0]

    def pulses(now):
        rows[:] = (canaries.sent.count("deep") + 1) // 2, canaries.sent.count("deep") // 2
        well = replace(IDLE, pid=PID, beat=now, last_success=float(now), probed=float(rows[0]))
        return {PID: well, PID + 1: replace(well, pid=PID + 1, last_success=0.0, probed=float(rows[1]), failed=rows[1])}

    for now in range(1, 200):
        if fault := two.fault(pulses(now), now):
            break
    assert 120 <= now < 150
    assert fault.startswith(f"process {PID + 1} fails real work")


def test_a_process_whose_turn_never_comes_costs_the_other_no_more_than_a_few_rows(two, canaries):
    def pulses(now):
        well = replace(IDLE, pid=PID, beat=now, last_success=float(now), probed=float(canaries.sent.count("deep")))
        return {PID: well, PID + 1: replace(IDLE, pid=PID + 1, beat=now)}

    assert not any(two.fault(pulses(now), now) for now in range(1, 305))
    assert 2 <= canaries.sent.count("deep") <= 5 * TRIES * 2


def test_a_canary_that_two_idle_processes_leave_without_answer_is_a_fault_of_the_model(two, canaries):
    canaries.answer = None
    idle = {PID: IDLE, PID + 1: replace(IDLE, pid=PID + 1)}
    pulses = lambda now: {pid: replace(each, beat=now) for pid, each in idle.items()}  # noqa: E731
    faults = [(now, fault) for now in range(1, 260) if (fault := two.fault(pulses(now), now))]
    second, fault = faults[0]
    assert 240 < second < 250
    assert fault == "it has left a canary without answer for 241 s"


@pytest.mark.parametrize("what", ["dead", "frozen", "stuck"])
def test_of_two_processes_the_one_at_fault_is_named(two, canaries, what):
    canaries.answer = None

    def pulses(now):
        well = replace(IDLE, pid=PID, beat=now)
        bad = {"dead": well, "frozen": replace(well, beat=0.0), "stuck": replace(well, in_flight=1)}[what]
        return {PID: well, PID + 1: replace(bad, pid=PID + 1)}

    two._stubs[1].dead = what == "dead"
    faults = [fault for now in range(1, 140) if (fault := two.fault(pulses(now), now))]
    assert f"process {PID + 1} " in faults[0]


def test_deep_canaries_can_be_switched_off(guard, canaries, monkeypatch):
    monkeypatch.setattr(guard, "_policy", replace(POLICY, deep_interval_s=0))
    watch(guard, 500, beating())
    assert "deep" not in canaries.sent
