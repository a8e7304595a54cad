"""Who is let in, until when, and what the process says of itself."""

import asyncio
import threading
import time

import pytest
import triton_python_backend_utils as pb_utils
from unit.serving.small_models import (
    INTERNAL,
    code_of,
    finish,
    inside,
    kill,
    later,
    make_model,
    make_streaming,
    request,
    texts,
    upper,
    wait_until,
)

from tritone import pulse
from tritone.serving.in_flight import InFlight


def test_a_canary_is_answered_without_the_model():
    [response] = make_model().run_each([request("crash", parameters=inside(canary="canary"))], upper)
    assert not response.has_error()


@pytest.mark.parametrize("microseconds", [1, 20_000])
@pytest.mark.parametrize("handed_on", [False, True])
def test_what_waited_past_its_deadline_is_not_computed(microseconds, handed_on):
    """Triton's own request parameter `timeout`, which it takes for itself but of `generate`."""
    computed, one = [], request("a", parameters={"timeout": microseconds} if handed_on else None)
    one.microseconds = 0 if handed_on else microseconds

    async def infer(text):
        await asyncio.sleep(0.2)
        computed.append(text)

    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert code_of(response) == pb_utils.TritonError.UNAVAILABLE
    assert "deadline of 0.0 s has passed" in response.error().message()
    assert computed == []


def test_a_network_answers_fellow_models_alone():
    model = make_model({"access": "pipelines"})
    stranger, guess, fellow = model.run_each(
        [request("a"), request("a", parameters={"token": "guess"}), request("a", parameters=inside())], upper
    )
    assert code_of(stranger) == code_of(guess) == pb_utils.TritonError.UNSUPPORTED
    assert "'m' is for this server's own pipelines alone" in stranger.error().message()
    assert texts(fellow) == ["A"]


def test_a_server_that_stops_takes_nothing_new_and_finishes_what_it_has():
    steps, doors = make_model({"step_of": "pipe"}), make_model()
    for model in (steps, doors):
        model.heart.draining = True

    async def infer(text):
        return {"text": text.upper()}

    refused, fellow, step = request("a"), request("b", parameters=inside()), request("c")
    later(doors, [refused, fellow], infer)
    later(steps, [step], infer)
    [[no], [yes], [also]] = finish(refused, fellow, step)
    assert code_of(no) == pb_utils.TritonError.UNAVAILABLE
    assert "shut down" in no.error().message()
    assert (texts(yes), texts(also)) == (["B"], ["C"])


def test_a_lost_device_ends_the_process_after_the_answer(monkeypatch):
    model, ended = make_model(), []
    monkeypatch.setattr(model.heart, "end_process", ended.append)

    def infer(text):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    [response] = model.run_each([request("a")], infer)
    assert code_of(response) == INTERNAL
    assert ended == ["its device fails (RuntimeError)"]


def test_want_of_memory_ends_nothing(monkeypatch):
    model = make_model()
    monkeypatch.setattr(model.heart, "end_process", lambda _: pytest.fail("ended"))

    def infer(text):
        raise type("OutOfMemoryError", (RuntimeError,), {})("CUDA error: out of memory")

    [response] = model.run_each([request("a")], infer)
    assert code_of(response) == INTERNAL


def test_a_plain_canary_comes_by_the_event_loop_and_a_deep_one_computes_a_row():
    model, computed = make_model(), []

    async def infer(text):
        pytest.fail("a canary is no request")

    async def probe():
        computed.append(True)

    model.probe(probe)
    for kind, count in (("canary", 0), ("deep", 1)):
        one = request("", parameters=inside(canary=kind))
        later(model, [one], infer)
        [[response]] = finish(one)
        assert not response.has_error()
        assert len(computed) == count


def test_a_deep_canary_of_a_network_that_fails_real_work_is_an_error():
    model = make_model()
    model.probe(lambda: 1 // 0)
    shallow, deep = (request("", parameters=inside(canary=kind)) for kind in ("canary", "deep"))
    answers = model.run_batched([shallow, deep], lambda text: text, lambda rows: rows)
    assert [code_of(response) for response in answers] == [None, INTERNAL]


def test_a_loop_that_stands_still_is_a_fault(monkeypatch):
    monkeypatch.setattr("tritone.serving.in_flight.STUCK_S", 0.5)
    model, free = make_model(), threading.Event()

    async def block(text):
        free.wait(20)  # what no model may do
        return {"text": text}

    one = request("a")
    later(model, [one], block)
    wait_until(lambda: model.heart.ill)
    assert "its event loop has not come round for" in model.heart.ill
    free.set()
    finish(one)


def test_a_process_that_stood_still_as_a_whole_is_well_when_it_goes_on(monkeypatch):
    """A machine that was paused, a container that was frozen: its loop is not late, all of it is."""
    works, passed = InFlight(), [0.0]
    clock = time.monotonic
    wait_until(lambda: works._rounds)
    monkeypatch.setattr("tritone.serving.in_flight.time.monotonic", lambda: clock() + passed[0])
    assert works.fault() == ""
    passed[0] = 3600.0
    assert works.fault() == ""
    looks = [works.fault() for passed[0] in range(3601, 3700)]
    assert looks[10] == ""
    assert "has not come round for" in looks[-1]  # in none of those seconds it did


def test_what_was_sent_to_a_caller_who_is_killed_stands_in_nobodys_way(tmp_path):
    """The worst fault seen: a blocking send, on the loop, to a process that is gone."""
    model, stuck = make_streaming(), threading.Event()
    doomed = request("a", parameters=inside(caller="gone.1.pulse"), request_id="x")
    doomed.sender.send = lambda *_, **__: stuck.wait(20)

    async def generate(text):
        while True:
            yield {"text": text}
            await asyncio.sleep(0.01)

    caller = pulse.Heart("gone", pulse.folder())
    doomed._parameters["caller"] = caller.name
    model.stream([doomed], generate)
    wait_until(lambda: model._sends._given_up or len(model._in_flight) == 1)
    kill(caller)
    wait_until(lambda: len(model._in_flight) == 0)

    async def once(text):
        yield {"text": text.upper()}

    other = request("b")
    model.stream([other], once)
    [responses] = finish(other)
    assert texts(responses[0]) == ["B"]
    stuck.set()
