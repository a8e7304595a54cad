"""/v1/responses, with OpenAI's SDK in front and a mock of the server behind."""

import base64
import json

import openai
import pytest
from mock_tritone import CLAUSES, answers, piece, png

from tritone_client import InferenceFailed

MODEL = "llava"
RED = "data:image/png;base64," + base64.b64encode(png()).decode()
ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


def test_a_response_has_its_text_its_status_and_its_tokens(gateway):
    response = gateway.sdk.responses.create(model=MODEL, input="What color is the circle?")
    assert (response.output_text, response.status, response.object) == ("".join(CLAUSES), "completed", "response")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (7, 5)
    assert gateway.asked.text("text_input") == "What color is the circle?"


def test_instructions_turns_and_pictures_are_a_conversation(gateway):
    items = [
        {"role": "user", "content": [{"type": "input_image", "image_url": RED, "detail": "auto"}, say("这是什么？")]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [said("一个圆。")]},
        {"role": "user", "content": "什么颜色？"},
    ]
    gateway.sdk.responses.create(model=MODEL, input=items, instructions="Be short.", max_output_tokens=9)
    history = json.loads(gateway.asked.text("messages"))
    assert [(turn["role"], turn["content"][-1]["text"]) for turn in history] == [
        ("system", "Be short."),
        ("user", "这是什么？"),
        ("assistant", "一个圆。"),
    ]
    assert gateway.asked.text("text_input") == "什么颜色？"
    assert gateway.asked.inputs["image_bytes"][0, 0] == png()
    assert gateway.asked.inputs["max_tokens"][0, 0] == 9


def test_what_came_back_can_be_sent_again_as_input(gateway):
    first = gateway.sdk.responses.create(model=MODEL, input="What is this?")
    again = [{"role": "user", "content": "What is this?"}, *first.to_dict()["output"], {"role": "user", "content": "?"}]
    gateway.sdk.responses.create(model=MODEL, input=again)
    history = json.loads(gateway.asked.text("messages"))
    assert history[1] == {"role": "assistant", "content": [{"type": "text", "text": "".join(CLAUSES)}]}


def test_events_come_in_openais_order_and_are_numbered(gateway):
    events = list(gateway.sdk.responses.create(model=MODEL, input="What color?", stream=True))
    assert [event.type for event in events] == ORDER
    assert [event.sequence_number for event in events] == list(range(len(ORDER)))
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == list(CLAUSES)
    assert events[-1].response.output_text == events[6].text == "".join(CLAUSES)
    assert events[-1].response.usage.total_tokens == 12


def test_the_sdks_own_stream_gathers_the_text(gateway):
    with gateway.sdk.responses.stream(model=MODEL, input="What color?") as stream:
        assert stream.get_final_response().output_text == "".join(CLAUSES)


def test_a_schema_is_what_a_chat_would_send(gateway):
    schema = {"type": "object", "properties": {"颜色": {"type": "string"}}}
    form = {"type": "json_schema", "name": "shape", "schema": schema, "strict": True}
    response = gateway.sdk.responses.create(model=MODEL, input="?", text={"format": form})
    assert json.loads(gateway.asked.text("response_format")) == {
        "type": "json_schema",
        "json_schema": {"name": "shape", "schema": schema, "strict": True},
    }
    assert response.text.format.schema_ == schema


def test_an_answer_that_was_cut_off_is_incomplete(serve):
    def cut(request):
        row = {**piece("The circle", done=True), "finish_reason": "length"}
        return [row] if request.model == "llava" else row

    gateway = serve(cut)
    response = gateway.sdk.responses.create(model=MODEL, input="?")
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    last = list(gateway.sdk.responses.create(model=MODEL, input="?", stream=True))[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")


def test_a_stream_that_dies_says_failed_and_raises(serve):
    def dying(request):
        yield from answers(request)[:1]
        raise InferenceFailed("the engine died")

    stream = serve(dying).sdk.responses.create(model=MODEL, input="?", stream=True)
    events = [next(stream) for _ in range(6)]
    assert (events[-1].type, events[-1].response.error.message) == ("response.failed", "the engine died")
    with pytest.raises(openai.APIError, match="the engine died"):
        next(stream)


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"text": {"verbosity": "low"}}, "text"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": "5"}]}, "input[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://a/b.png"}]}]},
            "input[0].content[0].image_url",
        ),
    ],
)
def test_what_needs_memory_or_tools_is_refused_by_name(gateway, wish, param):
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.responses.create(**{"model": MODEL, "input": "?", **wish})
    assert caught.value.param.startswith(param)


def test_what_cannot_change_the_answer_is_ignored(gateway):
    gateway.sdk.responses.create(
        model=MODEL,
        input="?",
        store=False,
        tools=[],
        parallel_tool_calls=True,
        truncation="disabled",
        reasoning={"effort": "low"},
        include=["reasoning.encrypted_content"],
        user="me",
    )
    assert set(gateway.asked.inputs) == {"text_input"}


def say(words):
    return {"type": "input_text", "text": words}


def said(words):
    return {"type": "output_text", "text": words, "annotations": []}
