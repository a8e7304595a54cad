"""The adapters of serving.py, with small functions in the place of models: requests to rows, rows to responses."""

import asyncio
import threading

import pytest
import triton_python_backend_utils as pb_utils
from unit.serving.small_models import (
    INTERNAL,
    INVALID,
    code_of,
    endless,
    finish,
    later,
    make_model,
    make_streaming,
    request,
    texts,
    upper,
    wait_until,
)

from tritone import serving
from tritone.errors import InvalidInput


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


def test_a_caller_who_leaves_stops_the_work():
    one, stopped = request("a"), threading.Event()
    make_streaming().stream([one], endless(stopped))
    assert one.sender.first.wait(5)
    one.cancelled = True
    [responses] = finish(one)
    assert responses[-1].error().code() == pb_utils.TritonError.CANCELLED
    assert stopped.wait(5)


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


def test_a_missing_input_is_named():
    nothing = pb_utils.InferenceRequest("m", ["text"], [])
    [response] = make_model().run_each([nothing], upper)
    assert (code_of(response), response.error().message()) == (INVALID, "text of model 'm' must be sent")


def test_a_long_sentence_is_cut_in_its_middle():
    def infer(text):
        raise InvalidInput(f"text is '{'长' * 9_000}', must be short")

    [response] = make_model().run_each([request("a")], infer)
    message = response.error().message()
    assert len(message.encode()) <= 1_000
    assert message.startswith("text is '长长")
    assert message.endswith("长', must be short")
