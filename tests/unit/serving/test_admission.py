"""Doors: who is let in follows from a measured pace, and who is not hears when to try again."""

import time

import pytest

from tritone import pulse
from tritone.errors import Unavailable
from tritone.serving import admission
from tritone.serving.admission import Door, Pace, Passage


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is told to go on."""

    class Clock:
        now = 1_000.0

        def go(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(admission.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(admission.time, "monotonic_ns", lambda: int(clock.now * 1e9))
    return clock


def learn(door, clock, rate=10.0, requests=50):
    """Let the door see `rate` requests a second, one after the other."""
    for _ in range(requests):
        ticket = door.admit()
        clock.go(1 / rate)
        ticket.finish()


def refusal(door, work=1.0):
    with pytest.raises(Unavailable) as caught:
        door.admit(work)
    return caught.value


def test_the_pace_is_work_a_second_and_the_recent_past_counts_most():
    pace = Pace()
    assert pace.value == 0.0
    for _ in range(100):
        pace.add(1, 1)
    assert pace.value == pytest.approx(1)
    for _ in range(200):
        pace.add(4, 1)
    assert pace.value == pytest.approx(4, rel=0.01)


def test_as_many_are_let_in_as_the_pace_serves_in_time(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=10)
    for _ in range(21):  # 2 s of work at 10 a second before the last of them
        door.admit()
    error = refusal(door)
    assert "'m' already has work for 2.1 s before this request, its limit is 2.0 s" in str(error)
    assert str(error).endswith("try again in 0.1 s")


def test_a_faster_model_lets_more_in_without_another_limit(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=100, requests=500)
    for _ in range(206):
        door.admit()
    refusal(door)


def test_who_leaves_takes_his_work_along_and_it_does_not_count_as_done(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=10)
    tickets = [door.admit() for _ in range(21)]
    refusal(door)
    for ticket in tickets:
        ticket.leave()
    assert len(door) == 0
    door.admit().leave()
    assert door._pace.value == pytest.approx(10)


def test_a_short_request_does_not_wait_for_the_whole_of_a_long_one(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=10)
    door.admit(work=3_600)  # an hour of sound, at ten times its speed: six minutes
    door.admit(work=5)  # a question


def test_a_long_request_may_wait_in_proportion_to_its_length(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=10)
    for _ in range(4):
        door.admit(work=100)  # 10 s each
    error = refusal(door, work=100)  # 40 s before it, four times its own work
    assert "work for 40.0 s before this request, its limit is 30.0 s" in str(error)
    assert error.retry_after_s == pytest.approx(10)


def test_no_more_than_the_stated_number_are_inside_whatever_their_work(clock):
    door = Door("m", max_in_flight=2, max_wait_s=60.0)
    door.admit(0.001)
    door.admit(0.001)
    assert "2 requests in flight, its limit" in str(refusal(door))


def test_who_has_a_slot_of_his_own_waits_for_nobody(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05, at_once=30)
    learn(door, clock, rate=10)
    for _ in range(30):
        door.admit()
    refusal(door)


def test_part_of_a_request_that_was_let_in_elsewhere_does_not_wait_outside(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=10)
    for _ in range(30):
        door.admit(urgent=True)
    refusal(door)
    door.admit(urgent=True)


def test_idle_time_is_no_slow_work(clock):
    door = Door("m", max_in_flight=1_000, max_wait_s=2.05)
    learn(door, clock, rate=10)
    clock.go(3_600)
    learn(door, clock, rate=10, requests=1)
    assert door._pace.value == pytest.approx(10)


# ---- ensembles


@pytest.fixture
def step(tmp_path):
    """The pulse of the model that does an ensemble's work: ten rows a second."""
    heart = pulse.Heart("encoder", tmp_path)
    heart.set("pace", 10.0)
    return heart


def passage(step, **more):
    return Passage("tokenizer", "encoder" + step.name.removeprefix("encoder").split(".")[0], step.where, 1.0, **more)


def test_the_first_step_lets_in_what_the_last_one_does_in_time(step, clock):
    door = passage(step)
    tickets = [ticket for _ in range(11) for ticket in door.admit()]
    assert tickets == sorted(set(tickets)) or len(set(tickets)) <= 11
    error = refusal(door)
    assert "'tokenizer' already has work for 1.1 s before this request" in str(error)


def test_what_the_last_step_has_seen_waits_no_longer(step, clock):
    door = passage(step)
    seen = [door.admit()[0] for _ in range(11) if not clock.go(0.01)]
    refusal(door)
    step.set("seen", seen[4])
    clock.go(0.01)  # the page of the other process is looked at again
    door.admit()


def test_tickets_that_got_lost_do_not_close_the_door_for_ever(step, clock):
    door = passage(step)
    for _ in range(11):
        door.admit()
    refusal(door)
    clock.go(3.1)  # twice the longest wait, and a second
    door.admit()


def test_a_last_step_that_does_not_say_how_fast_it_is_closes_no_door(step, clock):
    step.set("pace", 0.0)
    door = passage(step)
    for _ in range(100):
        door.admit()


def test_several_first_steps_share_what_the_last_one_can_do(step, clock):
    door = passage(step, doors=2)
    for _ in range(6):
        door.admit()
    refusal(door)


def test_the_clock_is_real(step):
    door = passage(step)
    before = time.monotonic_ns()
    assert before <= door.admit()[0] <= time.monotonic_ns()
