"""One model asks another: errors, deadlines, callers who leave, children that are lost."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from unit.serving.small_models import (
    INTERNAL,
    INVALID,
    code_of,
    endless,
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
from tritone.errors import InvalidInput
from tritone.serving import bls, cancelling


def test_a_fellow_model_cancels_its_call_by_a_private_number_however_long_the_queue_is():
    model, child, stopped = make_streaming(), request("a", request_id="child-1", parameters=inside()), threading.Event()
    model.stream([child], endless(stopped))
    assert child.sender.first.wait(5)
    cancelling.cancel(pulse.folder(), "m", "child-1")
    finish(child)
    assert stopped.wait(5)
    assert child.sender.responses[-1].error().code() == pb_utils.TritonError.CANCELLED


def test_a_call_that_was_cancelled_while_it_stood_in_a_queue_is_not_computed():
    model = make_model()
    cancelling.cancel(pulse.folder(), "m", "child-2")
    wait_until(lambda: "child-2" in model._entrance._cancelled)
    [response] = model.run_each([request("crash", request_id="child-2", parameters=inside())], upper)
    assert response.error().code() == pb_utils.TritonError.CANCELLED


def test_a_stranger_who_guesses_a_request_id_cancels_nothing():
    """The id is the caller's own choice; only calls that carry the server's token are known by it."""
    model, victim, free = make_model(), request("a", request_id="mine"), threading.Event()

    async def infer(text):
        await asyncio.to_thread(free.wait)
        return {"text": text.upper()}

    later(model, [victim], infer)
    cancelling.cancel(pulse.folder(), "m", "mine")
    stranger = request("b", parameters={"cancel": "mine", "token": "guessed"})
    wait_until(lambda: "mine" in model._entrance._cancelled)
    free.set()
    later(model, [stranger], infer)
    assert [texts(response) for [response] in finish(victim, stranger)] == [["A"], ["B"]]


def test_a_failed_bls_call_keeps_its_sentence_and_code():
    error = pb_utils.TritonError("audio is empty", INVALID)
    pb_utils.MODELS["child"] = lambda _: [pb_utils.InferenceResponse(error=error)]

    async def infer(text):
        return await bls.call("child", {"text": text}, ["text"])

    one = request("a")
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert (response.error().code(), response.error().message()) == (INVALID, "audio is empty")


def test_a_child_writes_its_code_in_front_of_its_sentence_because_the_server_drops_it():
    [response] = make_model().run_each([request("bad", parameters={"status": True})], upper)
    pb_utils.MODELS["child"] = lambda _: [
        pb_utils.InferenceResponse(error=pb_utils.TritonError(response.error().message(), INTERNAL))
    ]

    async def infer(text):
        return await bls.call("child", {"text": text}, ["text"])

    one = request("a")
    later(make_model(), [one], infer)
    [[answer]] = finish(one)
    assert (answer.error().code(), answer.error().message()) == (INVALID, "text is 'bad', must be good")


def test_an_error_of_a_stream_between_models_is_no_error_response():
    """Server 2.51 cleans up another call for each of them, while it may still be answered."""
    child, asked = make_streaming(), []

    async def refuse(text):
        yield {"text": text.upper()}
        raise InvalidInput(f"text is '{text}', must be 好")

    def answer(one):
        asked.append(json.loads(one.parameters()))
        one = request("坏", parameters=asked[-1])
        child.stream([one], refuse)
        return finish(one)[0]

    pb_utils.MODELS["child"] = answer

    async def infer(text):
        return [{"text": bls.text(row["text"])} async for row in bls.call_stream("child", {"text": text}, ["text"])][-1]

    one = request("a")
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert (response.error().code(), response.error().message()) == (INVALID, "text is '坏', must be 好")
    direct = request("坏", parameters=inside())
    child.stream([direct], refuse)
    assert [each.has_error() for each in finish(direct)[0]] == [False, True]
    from_within = request("坏", parameters=asked[0])
    child.stream([from_within], refuse)
    assert [each.has_error() for each in finish(from_within)[0]] == [False, False]


def leave(begin):
    """A model that calls `child` in the way of `begin`, whose caller leaves meanwhile: the child hears of it."""
    seen, stopped = [], threading.Event()
    child_model = make_model(name="child")

    def child(one):
        seen.append(one)
        wait_until(lambda: one.request_id() in child_model._entrance._cancelled)
        stopped.set()
        return [pb_utils.InferenceResponse(error=pb_utils.TritonError("stopped"))]

    pb_utils.MODELS["child"] = child
    one = request("a")
    later(make_model(), [one], begin)
    wait_until(lambda: seen)
    one.cancelled = True
    [[response]] = finish(one)
    assert response.error().code() == pb_utils.TritonError.CANCELLED
    assert stopped.wait(5)


def test_a_caller_who_leaves_before_the_childs_answer_cancels_the_child():
    async def infer(text):
        return await bls.call("child", {"text": text}, ["text"])

    leave(infer)


def test_a_caller_who_leaves_before_the_childs_first_response_cancels_the_child():
    async def infer(text):
        return [row async for row in bls.call_stream("child", {"text": text}, ["text"])][-1]

    leave(infer)


def test_leaving_a_bls_stream_in_its_middle_cancels_the_child_and_reads_what_is_still_on_its_way():
    """What Triton has for a stream is freed with its last response only."""
    child_model, stopped, at_its_end = make_model(name="child"), threading.Event(), threading.Event()

    def child(one):
        word = pb_utils.InferenceResponse([pb_utils.Tensor("text", np.array([[b"x"]], np.object_))])
        yield word
        wait_until(lambda: one.request_id() in child_model._entrance._cancelled)
        stopped.set()
        yield word
        at_its_end.set()

    pb_utils.MODELS["child"] = child

    async def infer(text):
        stream = bls.call_stream("child", {"text": text}, ["text"])
        first = await anext(stream)
        await stream.aclose()
        return {"text": bls.text(first["text"])}

    one = request("a")
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert texts(response) == ["x"]
    assert stopped.wait(5)
    assert at_its_end.wait(5)


def ask_a_child_that_loses(answers):
    """The response of a model whose child's stream ends without a word as often as it is said."""
    asked = []

    def child(one):
        asked.append(one)
        rows = [pb_utils.Tensor("text", np.array([[b"x"]], np.object_))]
        return [] if len(asked) <= answers else [pb_utils.InferenceResponse(rows)]

    pb_utils.MODELS["child"] = child

    async def infer(text):
        return [{"text": bls.text(row["text"])} async for row in bls.call_stream("child", {"text": text}, ["text"])][-1]

    one = request("a")
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    return response, len({each.request_id() for each in asked})


def test_an_answer_that_the_server_lost_on_its_way_is_asked_for_again():
    response, asked = ask_a_child_that_loses(1)
    assert (texts(response), asked) == (["x"], 2)


def test_a_child_that_never_says_a_word_is_unavailable_and_no_fault_of_the_face():
    response, asked = ask_a_child_that_loses(100)
    assert response.error().code() == pb_utils.TritonError.UNAVAILABLE
    assert response.error().message() == "model 'child' ended its answer without a word; try again in 1.0 s"
    assert asked == 3


def test_a_deadline_goes_along_with_the_calls_of_other_models():
    seen = []
    pb_utils.MODELS["child"] = lambda one: seen.append(one) or [pb_utils.InferenceResponse([])]

    async def infer(text):
        await bls.call("child", {"text": text}, [])
        return {"text": text}

    one = request("a")
    one.microseconds = 5_000_000
    later(make_model(), [one], infer)
    finish(one)
    parameters = json.loads(seen[0].parameters())
    assert parameters["deadline"] / 1e6 == pytest.approx(time.monotonic() + 5, abs=2)
    late = request("late", parameters=parameters | {"deadline": 1})
    [response] = make_model().run_each([late], lambda text: pytest.fail("computed"))
    assert code_of(response) == pb_utils.TritonError.UNAVAILABLE


def test_a_child_that_is_killed_in_the_middle_of_the_work_is_no_reason_to_wait_for_ever():
    child, never = pulse.Heart("doomed", pulse.folder()), threading.Event()
    pb_utils.MODELS["doomed"] = lambda one: never.wait(30) and []

    async def infer(text):
        return await bls.call("doomed", {"text": text}, ["text"])

    one = request("a")
    later(make_model(), [one], infer)
    time.sleep(0.5)
    kill(child)
    [[response]] = finish(one)
    assert code_of(response) == pb_utils.TritonError.UNAVAILABLE
    assert "'doomed' has ended in the middle of the work" in response.error().message()
    assert response.error().message().endswith("; try again in 5.0 s")
    never.set()


@pytest.mark.parametrize(
    "words",
    [
        "Failed to process the request(s) for model instance 'x_0', message: Stub process 'x_0_0' is not healthy.",
        "Request for unknown model: 'x' has no available versions",
        "Model x - Server not ready",
    ],
)
def test_a_child_that_is_being_loaded_anew_is_unavailable_and_no_defect(words):
    pb_utils.MODELS["child"] = lambda _: [pb_utils.InferenceResponse(error=pb_utils.TritonError(words, INTERNAL))]

    async def infer(text):
        return await bls.call("child", {"text": text}, ["text"])

    one = request("a")
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert code_of(response) == pb_utils.TritonError.UNAVAILABLE
    assert "try again in" in response.error().message()
