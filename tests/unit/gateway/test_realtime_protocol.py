"""/v1/realtime: sessions, items, answers in writing and aloud, and what is refused; a mock of the server behind."""

import base64
import json

import pytest
from mock_tritone import CLAUSES, answers, png, reply
from realtime_caller import calling, kinds

from tritone_client import InvalidInput, Overloaded, ServerUnavailable

ANSWER = "".join(CLAUSES)
ALOUD = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
PICTURE = "data:image/png;base64," + base64.b64encode(png()).decode()


@pytest.fixture
def caller(gateway):
    with calling(gateway.url) as caller:
        assert caller.next()["type"] == "session.created"
        yield caller


def session_of(gateway, **options):
    return calling(gateway.url, **options)


def test_a_session_begins_with_openais_defaults(gateway):
    with calling(gateway.url, "model=llava:zh") as caller:
        session = caller.next()["session"]
    assert (session["type"], session["model"], session["output_modalities"]) == ("realtime", "llava:zh", ["audio"])
    assert session["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy", "speed": 1}
    detection = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    more = {"idle_timeout_ms": None, "create_response": True, "interrupt_response": True}
    assert session["audio"]["input"]["turn_detection"] == detection | more


def test_an_update_changes_what_it_names_and_leaves_the_rest(caller):
    first = caller.update(instructions="用中文回答。", audio={"output": {"voice": "joe"}})
    assert (first["instructions"], first["audio"]["output"]["voice"]) == ("用中文回答。", "joe")
    quick = {"type": "server_vad", "silence_duration_ms": 200}
    second = caller.update(audio={"input": {"turn_detection": quick}, "output": {"format": {"type": "audio/pcmu"}}})
    assert second["instructions"] == "用中文回答。"
    assert second["audio"]["output"]["voice"] == "joe"
    assert second["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert second["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 200
    assert second["audio"]["input"]["turn_detection"]["threshold"] == 0.5
    assert caller.update(audio={"input": {"turn_detection": None}})["audio"]["input"]["turn_detection"] is None


USERS = {"type": "message", "role": "user"}
IN, OUT = "session.audio.input", "session.audio.output"


def heard(**fields):
    return {"audio": {"input": fields}}


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"voice": "joe"}, "session.voice", "there is no field 'session.voice'"),
        ({"audio": {"output": {"colour": 1}}}, f"{OUT}.colour", "there is no field"),
        ({"audio": {"output": {"speed": 9}}}, f"{OUT}.speed", "is 9, must be 0.25 to 4"),
        (heard(turn_detection={"type": "server_vad", "threshold": 2}), f"{IN}.turn_detection.threshold", "0 to 1"),
        (heard(turn_detection={"type": "semantic_vad", "eagerness": "x"}), f"{IN}.turn_detection.eagerness", "'low'"),
        (heard(turn_detection={"threshold": 0.5}), f"{IN}.turn_detection.type", "is missing"),
        (heard(format={"type": "audio/pcm", "rate": 16000}), f"{IN}.format.rate", "24000"),
        (heard(noise_reduction={"type": "near_field"}), f"{IN}.noise_reduction", "null is what there is"),
        (heard(transcription={"model": "llava"}), "model", "does something else"),
        ({"tools": [{"type": "function", "name": "a"}], "tool_choice": "auto"}, "session.tools", "no tools"),
        ({"output_modalities": ["text", "audio"]}, "session.output_modalities", "must be"),
        ({"max_output_tokens": 0}, "session.max_output_tokens", "1 to 4096"),
        ({"model": "dall-e-3"}, "model", "does something else"),
        ({"include": ["item.input_audio_transcription.logprobs"]}, "session.include", "no logprobs"),
        ({"type": "other"}, "session.type", ""),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_and_nothing_is_changed(caller, change, param, said):
    body = {"type": "realtime", "instructions": "lost", **change}
    caller.send("session.update", event_id="mine", session=body)
    error = caller.next()["error"]
    assert (error["param"], error["event_id"], error["type"]) == (param, "mine", "invalid_request_error")
    assert said in error["message"]
    assert caller.update()["instructions"] == ""


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        ("{", "invalid_json", "not JSON"),
        ("[]", "invalid_json", "object"),
        ("{}", "missing_required_parameter", "'type' is missing"),
        ('{"type": "session.begin"}', "invalid_value", "there is no event 'session.begin'"),
        ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "'audio' is missing"),
        ('{"type": "input_audio_buffer.append", "audio": "%"}', "invalid_value", "base64"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", "0 ms"),
        ('{"type": "output_audio_buffer.clear"}', "unsupported_parameter", "WebRTC"),
        ('{"type": "response.cancel"}', "response_cancel_not_active", "no such answer"),
        ('{"type": "conversation.item.delete", "item_id": "x"}', "item_not_found", "'x'"),
        ('{"type": "conversation.item.retrieve", "item_id": "x"}', "item_not_found", "'x'"),
        (b"bytes", "invalid_json", "text, not bytes"),
    ],
)
def test_a_wrong_event_is_told_and_the_session_lives_on(caller, sent, code, said):
    caller.socket.send(sent)
    error = caller.next()["error"]
    assert error["code"] == code
    assert said in error["message"]
    caller.say("你好")
    assert caller.answer()[-1]["response"]["status"] == "completed"


def test_an_answer_aloud_has_openais_events_in_openais_order(gateway, caller):
    caller.update(instructions="Be brief.")
    question = caller.say("圆是什么颜色？")
    events = caller.answer()
    assert kinds(events) == ALOUD
    transcript = "".join(e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta")
    sound = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
    done = events[-1]["response"]
    assert transcript == ANSWER == done["output"][0]["content"][0]["transcript"]
    assert len(sound) == 24_000  # 0.5 s
    assert events[2]["previous_item_id"] == question
    ids = {e[name] for e in events for name in ("response_id",) if name in e}
    assert ids == {done["id"]}
    assert {e["item_id"] for e in events if "item_id" in e} == {done["output"][0]["id"]}
    assert len({e["event_id"] for e in events}) == len(events)
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (7, 2)
    asked = gateway.asked
    assert (asked.model, asked.text("text_input")) == ("voice_assistant_stream", "圆是什么颜色？")
    assert json.loads(asked.text("messages"))[0] == {
        "role": "system",
        "content": [{"type": "text", "text": "Be brief."}],
    }


def test_words_come_with_the_times_at_which_they_are_said(caller):
    caller.say("Hello.")
    deltas = [e for e in caller.answer() if e["type"] == "response.output_audio_transcript.delta"]
    assert deltas[0]["words"] == [{"word": CLAUSES[0], "start": 0, "end": 0.25}]
    assert [delta["audio_start"] for delta in deltas] == [0, 0.25]


def test_an_answer_in_writing(gateway, caller):
    caller.update(output_modalities=["text"])
    caller.say("Hello.")
    events = caller.answer(max_output_tokens=9)
    assert kinds(events)[4:6] == ["response.output_text.delta", "response.output_text.done"]
    assert events[-1]["response"]["output"][0]["content"] == [{"type": "output_text", "text": ANSWER}]
    assert events[-1]["response"]["usage"]["input_token_details"]["image_tokens"] == 3
    assert (gateway.asked.model, gateway.asked.inputs["max_tokens"][0, 0]) == ("llava", 9)


def test_pictures_and_turns_go_to_the_model_in_their_order(gateway, caller):
    content = [{"type": "input_image", "image_url": PICTURE}, {"type": "input_text", "text": "What is it?"}]
    caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    shown = caller.until("conversation.item.done")[-1]["item"]
    assert shown["content"][0] == {"type": "input_image"}  # the caller has it already
    caller.say("A circle.", "assistant")
    caller.say("而颜色呢？")
    caller.answer()
    assert gateway.asked.inputs["image_bytes"].reshape(-1)[0] == png()
    words = {"type": "text", "text": "What is it?"}
    assert json.loads(gateway.asked.text("messages")) == [
        {"role": "user", "content": [{"type": "image"}, words]},
        {"role": "assistant", "content": [{"type": "text", "text": "A circle."}]},
    ]
    assert gateway.asked.text("text_input") == "而颜色呢？"
    assert caller.retrieve(shown["id"])["content"][0]["image_url"] == PICTURE


def test_an_item_goes_where_it_is_told_and_can_be_deleted(gateway, caller):
    first = caller.say("one")
    system = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Speak up."}]}
    caller.send("conversation.item.create", previous_item_id="root", item=system | {"id": "rule"})
    assert "previous_item_id" not in {k for k, v in caller.until("conversation.item.done")[-1].items() if v}
    caller.send("conversation.item.create", previous_item_id="rule", item=system | {"id": "rule"})
    assert caller.next()["error"]["code"] == "item_exists"
    caller.say("two")
    assert caller.told("conversation.item.delete", item_id=first)["item_id"] == first
    caller.answer()
    assert gateway.asked.text("text_input") == "two"
    assert json.loads(gateway.asked.text("messages"))[0]["content"][0]["text"] == "Speak up."


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "function_call", "name": "a", "arguments": "{}"}, "item.type"),
        (USERS | {"content": [{"type": "input_text"}]}, "item.content[0].text"),
        (USERS | {"content": []}, "item.content"),
        (
            USERS | {"content": [{"type": "input_image", "image_url": "http://a/b.png"}]},
            "item.content[0].image_url",
        ),
    ],
)
def test_an_item_that_means_nothing_here_is_refused(caller, item, param):
    assert caller.told("conversation.item.create", item=item)["error"]["param"] == param


def test_an_answer_of_its_own_input_leaves_the_conversation_alone(gateway, caller):
    caller.say("in the conversation")
    one = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "aside"}]}
    events = caller.answer(conversation="none", input=[one], instructions="Whisper.", metadata={"topic": "aside"})
    assert "conversation.item.added" not in kinds(events)
    done = events[-1]["response"]
    assert (done["conversation_id"], done["metadata"]) == (None, {"topic": "aside"})
    assert gateway.asked.text("text_input") == "aside"
    caller.answer()
    assert gateway.asked.text("text_input") == "in the conversation"
    assert "messages" not in gateway.asked.inputs


def test_instructions_are_answered_where_nobody_has_asked_yet(gateway, caller):
    assert caller.answer(instructions="Greet the user.")[-1]["response"]["status"] == "completed"
    assert gateway.asked.text("text_input") == "Greet the user."
    failed = caller.answer()[-1]["response"]
    assert (failed["status"], failed["output"]) == ("failed", [])
    assert "nothing to answer" in failed["status_details"]["error"]["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Overloaded("too much to do", retry_after_s=1), "server_overloaded"),
        (ServerUnavailable("nobody answers"), "server_unavailable"),
        (InvalidInput("voice is 'x', must be joe"), "invalid_value"),
    ],
)
def test_a_server_that_fails_fails_the_answer_and_the_session_lives_on(serve, error, code):
    broken = [True]

    def handler(request):
        if broken and request.model == "voice_assistant_stream":
            raise error
        return answers(request)

    with session_of(serve(handler)) as caller:
        caller.next()
        caller.say("Hello.")
        failed = caller.answer()[-1]["response"]
        assert (failed["status"], failed["status_details"]["error"]["code"]) == ("failed", code)
        assert failed["status_details"]["error"]["message"] == str(error)
        broken.clear()
        assert caller.answer()[-1]["response"]["status"] == "completed"


def test_an_answer_that_is_cut_at_its_longest_is_incomplete(serve):
    with session_of(serve(lambda _: [reply(0, ""), reply(1, "Red and", "length")])) as caller:
        caller.next()
        caller.say("Hello.")
        done = caller.answer()[-1]["response"]
    assert done["status"] == "incomplete"
    assert done["status_details"]["reason"] == "max_output_tokens"
    assert done["output"][0]["status"] == "incomplete"


def test_what_is_too_long_for_the_model_is_forgotten_from_its_oldest_end(serve):
    told = []

    def handler(request):
        messages = json.loads(request.text("messages")) if "messages" in request.inputs else []
        told.append(["".join(p.get("text", "▣") for p in turn["content"]) for turn in messages])
        if len(messages) > 3:
            raise InvalidInput("the prompt's 999 tokens exceed the 512 of the model")
        return answers(request)

    with session_of(serve(handler)) as caller:
        caller.next()
        content = [{"type": "input_image", "image_url": PICTURE}, {"type": "input_text", "text": "0"}]
        caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        caller.until("conversation.item.done")
        for number in range(1, 8):
            caller.say(str(number), ("user", "assistant")[number % 2])
        caller.say("最后")
        assert caller.answer()[-1]["response"]["status"] == "completed"
        assert told[0] == ["▣0", *"1234567"]
        assert told[1:] == [["▣0", "5", "6", "7"], ["▣0", "7"]]
        caller.update(truncation="disabled")
        caller.say("again")
        assert caller.answer()[-1]["response"]["status"] == "failed"


NONSENSE = (None, [], {}, 5, "x", True, [None], {"type": []}, {"type": None}, -1, "国" * 50, {"audio": {"input": []}})
FIELDS = {
    "session.update": ("session",),
    "input_audio_buffer.append": ("audio",),
    "conversation.item.create": ("item", "previous_item_id"),
    "conversation.item.truncate": ("item_id", "content_index", "audio_end_ms"),
    "conversation.item.delete": ("item_id",),
    "response.create": ("response",),
    "response.cancel": ("response_id",),
}


def test_no_nonsense_ends_a_session(caller):
    """Every field of every event, with what no field is."""
    for kind, fields in FIELDS.items():
        for wrong in NONSENSE:
            for field in fields:
                caller.send(kind, **{field: wrong})
            caller.send(kind, event_id=wrong)
    for wrong in NONSENSE:
        caller.socket.send(json.dumps({"type": wrong}))
        for place in ("audio", "instructions", "tools", "output_modalities", "tool_choice", "max_output_tokens"):
            caller.send("session.update", session={"type": "realtime", place: wrong})
        for place in ("format", "turn_detection", "transcription"):
            caller.send("session.update", session={"type": "realtime", "audio": {"input": {place: wrong}}})
            caller.send("response.create", response={"audio": {"output": {place: wrong}}})
    caller.send("conversation.item.retrieve", item_id="the end")
    while True:
        event = caller.next()
        if "'the end'" in event.get("error", {}).get("message", ""):
            break
        assert event.get("error", {}).get("code") != "internal_error", event
