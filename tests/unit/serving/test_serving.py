"""The adapters of serving.py, with small functions in the place of models."""

import asyncio
import fcntl
import json
import threading
import time

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils

from tritone import pulse, serving
from tritone.errors import InvalidInput
from tritone.serving import bls, cancelling

INVALID, INTERNAL = pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.INTERNAL


def wait_until(condition):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < 10
        time.sleep(0.005)


def make_model(parameters=None, name="m", **config):
    config = {
        "input": [
            {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "number", "data_type": "TYPE_INT32", "dims": ["1"], "optional": True},
            {"name": "image_bytes", "data_type": "TYPE_STRING", "dims": [-1], "optional": True},
        ],
        "output": [
            {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "values", "data_type": "TYPE_FP32", "dims": [-1]},
        ],
        "parameters": {key: {"string_value": value} for key, value in (parameters or {}).items()},
        **config,
    }
    args = {
        "model_config": json.dumps(config),
        "model_name": name,
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
    }
    return serving.Model(args)


def make_streaming():
    return make_model(model_transaction_policy={"decoupled": True})


def request(*texts, outputs=("text", "values"), parameters=None, number=None, request_id="", pictures=None):
    tensors = [
        pb_utils.Tensor("text", np.array([[t if isinstance(t, bytes) else t.encode()] for t in texts], np.object_))
    ]
    if number is not None:
        tensors.append(pb_utils.Tensor("number", np.array([[number]] * len(texts), np.int32)))
    if pictures is not None:
        tensors.append(pb_utils.Tensor("image_bytes", np.array([pictures], np.object_)))
    return pb_utils.InferenceRequest("m", outputs, tensors, request_id, parameters)


def texts(response):
    assert not response.has_error(), response.error().message()
    return [row[0].decode() for row in response.output_tensors()[0].as_numpy()]


def upper(text, number=0, image_bytes=()):
    if text == "bad":
        raise InvalidInput("text is 'bad', must be good")
    if text == "crash":
        raise RuntimeError(f"about {text}: {number}")
    return {"text": text.upper(), "values": [float(number), float(len(image_bytes))]}


@pytest.fixture(autouse=True)
def quiet():
    pb_utils.Logger.lines.clear()


class WidthSettings(serving.Settings):
    width: int
    fast: bool


def test_settings_are_typed():
    model = make_model({"width": "7", "fast": "true", "FORCE_CPU_ONLY_INPUT_TENSORS": "no", "calls": "a,b"})
    assert model.settings(WidthSettings) == WidthSettings(width=7, fast=True)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"width": "7"}, "fast"),
        ({"width": "x", "fast": "no"}, "width"),
        ({"width": "7", "fast": "no", "height": "8"}, "height"),
    ],
)
def test_a_missing_malformed_or_unknown_setting_is_named(parameters, named):
    with pytest.raises(pb_utils.TritonModelException, match=named):
        make_model(parameters).settings(WidthSettings)


def test_rows_of_mixed_batches_come_back_to_their_callers():
    requests = [request("a", "b"), request("c"), request("d", "e", "f")]
    responses = make_model().run_batched(requests, lambda **row: row, lambda rows: [upper(**row) for row in rows])
    assert [texts(response) for response in responses] == [["A", "B"], ["C"], ["D", "E", "F"]]


def test_one_call_serves_the_whole_batch():
    calls = []
    make_model().run_batched(
        [request("a"), request("b")], lambda text: text, lambda rows: calls.append(rows) or [{"text": t} for t in rows]
    )
    assert calls == [["a", "b"]]


def test_a_request_that_prepare_refuses_fails_alone():
    good, bad = make_model().run_batched([request("a"), request("bad")], lambda **row: upper(**row), lambda rows: rows)
    assert texts(good) == ["A"]
    assert (bad.error().code(), bad.error().message()) == (INVALID, "text is 'bad', must be good")


def test_a_request_that_breaks_the_batch_fails_alone():
    requests = [request("a"), request("crash"), request("c")]
    first, second, third = make_model().run_batched(
        requests, lambda **row: row, lambda rows: [upper(**row) for row in rows]
    )
    assert (texts(first), texts(third)) == (["A"], ["C"])
    assert second.error().code() == INTERNAL


def test_an_unexpected_error_is_logged_once_without_the_callers_words():
    [response] = make_model().run_each([request("crash", request_id="r7")], upper)
    assert response.error().code() == INTERNAL
    [line] = pb_utils.Logger.lines
    assert "RuntimeError" in line
    assert "r7" in line
    assert "in upper" in line
    assert "about crash" not in line + response.error().message()


def test_text_that_is_not_utf_8_is_refused_with_its_place():
    [response] = make_model().run_each([request(b"caf\xe9")], upper)
    assert response.error().code() == INVALID
    assert "'text' is not UTF-8: byte 0xe9 at offset 3" in response.error().message()


def test_media_bytes_are_not_decoded_and_optional_inputs_reach_the_model():
    [response] = make_model().run_each([request("图", number=4, pictures=[b"\xff\xd8", b"\x89"])], upper)
    assert texts(response) == ["图"]
    assert response["values"].tolist() == [4.0, 2.0]


def test_only_requested_outputs_are_computed():
    def infer(text):
        return {"text": text, "values": lambda: pytest.fail("nobody asked for this")}

    [response] = make_model().run_each([request("a", outputs=["text"])], infer)
    assert [tensor.name() for tensor in response.output_tensors()] == ["text"]


def test_rows_of_different_length_in_one_request_are_refused():
    [response] = make_model().run_each([request("a", "bb")], lambda text: {"values": [1.0] * len(text)})
    assert "send one row per request" in response.error().message()


def test_a_canary_is_answered_without_the_model():
    [response] = make_model().run_each([request("crash", parameters=inside(canary="canary"))], upper)
    assert not response.has_error()


def finish(*requests):
    for one in requests:
        assert one.sender.final.wait(5), "never answered"
    return [one.sender.responses for one in requests]


def later(model, requests, infer):
    """What Triton does with a model that answers later: it sends what `execute` returns."""
    for one, response in zip(requests, model.answer_later(requests, infer), strict=True):
        if response is not None:
            one.sender.send(response, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def test_answers_that_come_later_overlap_and_reach_their_callers():
    model, arrived = make_model(), []

    async def infer(text):
        arrived.append(text)
        while len(arrived) < 3:  # nobody finishes before all have begun
            await asyncio.sleep(0.001)
        return {"text": text.upper()}

    requests = [request("a"), request("b"), request("c")]
    model.open_door(serving.DoorSettings(max_in_flight=3, max_wait_s=60))
    later(model, requests, infer)
    assert [texts(response) for [response] in finish(*requests)] == [["A"], ["B"], ["C"]]


def test_over_the_limit_is_refused_at_once_and_the_rest_go_on():
    model, door = make_model(), threading.Event()

    async def infer(text):
        await asyncio.to_thread(door.wait)
        return {"text": text}

    requests = [request("a"), request("b"), request("c")]
    model.open_door(serving.DoorSettings(max_in_flight=2, max_wait_s=60))
    later(model, requests, infer)
    [[refused]] = finish(requests[2])
    assert refused.error().code() == pb_utils.TritonError.UNAVAILABLE
    assert "2 requests in flight" in refused.error().message()
    door.set()
    assert [texts(response) for [response] in finish(*requests[:2])] == [["a"], ["b"]]


@pytest.mark.parametrize(("word", "code"), [("bad", INVALID), ("crash", INTERNAL)])
def test_a_coroutine_that_fails_still_answers(word, code):
    async def infer(text):
        return upper(text)

    one = request(word)
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert response.error().code() == code


def test_a_stream_sends_its_rows_in_order_and_then_final():
    async def generate(text):
        for letter in text:
            yield {"text": letter}

    one = request("abc")
    make_streaming().stream([one], generate)
    [responses] = finish(one)
    assert [texts(response) for response in responses] == [["a"], ["b"], ["c"]]


def test_a_stream_that_fails_midway_sends_the_error_and_final():
    async def generate(text):
        yield {"text": text}
        raise InvalidInput("too long")

    one = request("a")
    make_streaming().stream([one], generate)
    [[first, second]] = finish(one)
    assert texts(first) == ["a"]
    assert second.error().message() == "too long"


def test_an_answer_that_cannot_be_sent_becomes_an_error_that_can(monkeypatch):
    """As when the memory that processes share has no room for it."""
    send = pb_utils.ResponseSender.send

    def only_small(self, response=None, flags=0):
        if response is not None and response.output_tensors():
            raise RuntimeError("Failed to increase the shared memory pool size")
        send(self, response, flags)

    monkeypatch.setattr(pb_utils.ResponseSender, "send", only_small)

    async def infer(text):
        return {"text": text}

    one = request("a")
    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert response.error().code() == INTERNAL


def endless(stopped):
    async def generate(text):
        try:
            while True:
                yield {"text": text}
                await asyncio.sleep(0.005)
        finally:
            stopped.set()

    return generate


def test_a_caller_who_leaves_stops_the_work():
    one, stopped = request("a"), threading.Event()
    make_streaming().stream([one], endless(stopped))
    assert one.sender.first.wait(5)
    one.cancelled = True
    [responses] = finish(one)
    assert responses[-1].error().code() == pb_utils.TritonError.CANCELLED
    assert stopped.wait(5)


def inside(**more):
    """The parameters by which processes of one server know each other."""
    return {"token": pulse.token(pulse.folder()), **more}


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


def test_leaving_a_bls_stream_in_its_middle_cancels_the_child():
    child_model, seen = make_model(name="child"), []

    def child(one):
        seen.append(one)
        rows = [pb_utils.Tensor("text", np.array([[b"x"]], np.object_))]
        return [pb_utils.InferenceResponse(rows)] * 3

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
    wait_until(lambda: seen[0].request_id() in child_model._entrance._cancelled)


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


def test_requests_are_answered_as_soon_as_their_rows_are_done_and_bad_ones_alone():
    model, order = make_model(), []
    requests = [request("slow"), request("bad"), request("fast"), request("two", "rows")]
    senders = {text: each.sender for text, each in zip(("slow", "bad", "fast", "two"), requests, strict=True)}

    def infer(rows):
        for place in reversed(range(len(rows))):
            yield place, {"text": rows[place].upper()}
            wait_until(lambda: len(answered()) > len(order))
            order.append(answered())

    def answered():
        return {text for text, sender in senders.items() if sender.final.is_set()}

    def prepare(text):
        return upper(text) and text

    model.answer_as_done(requests, prepare, infer)
    finish(*requests)
    assert order == [{"bad"}, {"bad", "two"}, {"bad", "two", "fast"}, {"bad", "two", "fast", "slow"}]
    assert [texts(senders[name].responses[0]) for name in ("slow", "fast", "two")] == [
        ["SLOW"],
        ["FAST"],
        ["TWO", "ROWS"],
    ]
    assert senders["bad"].responses[0].error().code() == INVALID
    assert [len(sender.responses) for sender in senders.values()] == [1, 1, 1, 1]


def test_a_batch_that_fails_in_its_middle_is_run_again_row_by_row():
    model = make_model()
    requests = [request("first"), request("at fault"), request("last")]

    def infer(rows):
        for place, row in enumerate(rows):
            if row == "at fault":
                raise RuntimeError
            yield place, {"text": row}

    model.answer_as_done(requests, lambda text: text, infer)
    first, fault, last = finish(*requests)
    assert (texts(first[0]), texts(last[0])) == (["first"], ["last"])
    assert fault[0].error().code() == INTERNAL
    assert [len(first), len(fault), len(last)] == [1, 1, 1]


def test_a_request_whose_rows_never_come_is_answered_all_the_same():
    model = make_model()
    requests = [request("answered"), request("forgotten")]

    def infer(rows):
        yield from ((place, {"text": row}) for place, row in enumerate(rows) if row != "forgotten")

    model.answer_as_done(requests, lambda text: text, infer)
    answered, forgotten = finish(*requests)
    assert [texts(response) for response in answered] == [["answered"]]
    assert [response.error().code() for response in forgotten] == [INTERNAL]


# ---- who is let in, until when, and what the process says of itself


def code_of(response):
    return response.error().code() if response.has_error() else None


def kill(heart):
    """What the kernel does with a process that is killed: it takes its lock away."""
    fcntl.flock(heart._file, fcntl.LOCK_UN)


@pytest.mark.parametrize("microseconds", [1, 20_000])
def test_what_waited_past_its_deadline_is_not_computed(microseconds):
    """Triton's own request parameter `timeout`."""
    computed, one = [], request("a")
    one.microseconds = microseconds

    async def infer(text):
        await asyncio.sleep(0.2)
        computed.append(text)

    later(make_model(), [one], infer)
    [[response]] = finish(one)
    assert code_of(response) == pb_utils.TritonError.UNAVAILABLE
    assert "deadline of 0.0 s has passed" in response.error().message()
    assert computed == []


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


def test_a_missing_input_is_named():
    nothing = pb_utils.InferenceRequest("m", ["text"], [])
    [response] = make_model().run_each([nothing], upper)
    assert (code_of(response), response.error().message()) == (INVALID, "text of model 'm' must be sent")


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


def test_a_long_sentence_is_cut_in_its_middle():
    def infer(text):
        raise InvalidInput(f"text is '{'长' * 9_000}', must be short")

    [response] = make_model().run_each([request("a")], infer)
    message = response.error().message()
    assert len(message.encode()) <= 1_000
    assert message.startswith("text is '长长")
    assert message.endswith("长', must be short")


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
