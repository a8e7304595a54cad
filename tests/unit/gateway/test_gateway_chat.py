"""/v1/chat/completions, with OpenAI's SDK in front and a mock of the server behind."""

import base64
import io
import json
import re

import av
import openai
import pytest
from mock_tritone import CLAUSES, answers, heard, piece, png

MODEL = "llava"
RED = "data:image/png;base64," + base64.b64encode(png()).decode()
ASKED = [{"role": "user", "content": "What color is the circle?"}]
SOUND = base64.b64encode(b"RIFF....").decode()
HEARD = {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}}
ALOUD = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def text(words):
    return {"type": "text", "text": words}


def history(request):
    return json.loads(request.text("messages"))


def test_an_answer_has_its_words_its_end_and_its_tokens(gateway):
    answer = gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED)
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "".join(CLAUSES),
        "stop",
    )
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 5, 12)
    assert (answer.object, answer.model) == ("chat.completion", MODEL)
    assert gateway.asked.text("text_input") == "What color is the circle?"


def test_chinese_goes_through_both_ways(serve):
    gateway = serve(lambda request: piece("它是红色的。", done=True))
    answer = gateway.sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "它是什么颜色？"}])
    assert answer.choices[0].message.content == "它是红色的。"
    assert gateway.asked.text("text_input") == "它是什么颜色？"


def test_options_have_the_names_of_the_server(gateway):
    gateway.sdk.chat.completions.create(
        model="llava:zh", messages=ASKED, temperature=0.5, top_p=0.9, seed=7, stop=["."], max_completion_tokens=3
    )
    inputs = {name: value[0].tolist() for name, value in gateway.asked.inputs.items()}
    del inputs["text_input"]
    assert inputs == {
        "temperature": [0.5],
        "top_p": [pytest.approx(0.9)],
        "seed": [7],
        "stop": [b"."],
        "max_tokens": [3],
        "adapter": [b"zh"],
    }


def test_earlier_turns_and_pictures_keep_their_places(gateway):
    green = "data:image/png;base64," + base64.b64encode(png((0, 255, 0))).decode()
    messages = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [image(RED), text("What is this?")]},
        {"role": "assistant", "content": "A red circle."},
        {"role": "user", "content": [text("And"), image(green), text("this?")]},
    ]
    gateway.sdk.chat.completions.create(model=MODEL, messages=messages)
    assert history(gateway.asked) == [
        {"role": "system", "content": [text("Be short.")]},
        {"role": "user", "content": [{"type": "image"}, text("What is this?")]},
        {"role": "assistant", "content": [text("A red circle.")]},
    ]
    assert gateway.asked.text("text_input") == "And\nthis?"
    assert list(gateway.asked.inputs["image_bytes"][0]) == [png(), png((0, 255, 0))]


def test_sounds_are_heard_in_their_places(gateway):
    messages = [
        {"role": "user", "content": [HEARD]},
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": [text("Again:"), HEARD]},
    ]
    gateway.sdk.chat.completions.create(model=MODEL, messages=messages)
    assert history(gateway.asked)[0]["content"] == [text("What color is it?")]
    assert gateway.asked.text("text_input") == "Again:\nWhat color is it?"
    assert gateway.transport.requests[-2].inputs["audio_bytes"][0, 0] == b"RIFF...."


def test_a_stream_begins_with_the_role_and_ends_with_the_reason(gateway):
    chunks = list(gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", *CLAUSES, None]
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant", None, None, None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_comes_in_a_last_chunk_without_choices_and_is_null_before(gateway):
    body = {"model": MODEL, "messages": ASKED, "stream": True, "stream_options": {"include_usage": True}}
    lines = gateway.http.post("/v1/chat/completions", json=body).text.split("\n\n")
    *chunks, last = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(chunk["usage"] is None for chunk in chunks)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 12)


def test_a_stream_without_that_wish_has_no_usage(gateway):
    body = {"model": MODEL, "messages": ASKED, "stream": True}
    assert "usage" not in gateway.http.post("/v1/chat/completions", json=body).text


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto"}, "tools"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"modalities": ["audio"]}, "audio"),
        ({"extra_body": {"colour": "red"}}, "colour"),
        ({"extra_body": {"web_search_options": {}}}, "web_search_options"),
    ],
)
def test_what_would_change_the_answer_and_cannot_be_done_is_refused_by_name(gateway, wish, param):
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED, **wish)
    assert caught.value.param == param


def test_what_cannot_change_the_answer_is_ignored(gateway):
    gateway.sdk.chat.completions.create(
        model=MODEL,
        messages=ASKED,
        n=1,
        user="me",
        store=True,
        metadata={"a": "b"},
        service_tier="auto",
        presence_penalty=0,
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="none",
        response_format={"type": "text"},
        prompt_cache_key="k",
    )
    assert set(gateway.asked.inputs) == {"text_input"}


@pytest.mark.parametrize(
    ("content", "param", "said"),
    [
        ([image("https://example.org/cat.png")], "messages[0].content[0].image_url", "fetches no address"),
        ([image("file:///etc/passwd")], "messages[0].content[0].image_url", "fetches no address"),
        ([image("/etc/passwd")], "messages[0].content[0].image_url", "data URL"),
        ([image("data:image/png;base64,%%%")], "messages[0].content[0].image_url", "base64"),
        (
            [text("a"), {**HEARD, "input_audio": {"data": "", "format": "wav"}}],
            "messages[0].content[1].input_audio",
            "empty",
        ),
        ([{"type": "video"}], "messages[0]", "video"),
    ],
)
def test_media_that_cannot_be_taken_are_refused_by_their_place(gateway, content, param, said):
    before = len(gateway.transport.requests)
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        gateway.sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    assert caught.value.param == param
    assert len(gateway.transport.requests) == before


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([{"role": "assistant", "content": "Hello."}], "messages[0].role"),
        ([{"role": "tool", "content": "5", "tool_call_id": "1"}, *ASKED], "messages[0].role"),
        ([{"role": "assistant", "content": [image(RED)]}, *ASKED], "messages[0].content"),
        ([{"role": "king", "content": "?"}], "messages[0]"),
    ],
)
def test_conversations_that_cannot_be_answered_are_refused_by_their_place(gateway, messages, param):
    with pytest.raises(openai.BadRequestError) as caught:
        gateway.sdk.chat.completions.create(model=MODEL, messages=messages)
    assert caught.value.param == param


def test_a_model_that_does_something_else_is_not_found(gateway):
    for name in ("gpt-4o", "clip", "sd_unet", "whisper:x"):
        with pytest.raises(openai.NotFoundError) as caught:
            gateway.sdk.chat.completions.create(model=name, messages=ASKED)
        assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


LOGPROBS = [
    {"token": word, "bytes": list(word.encode()), "logprob": -0.5, "top_logprobs": [{"token": "Blue", "logprob": -2.0}]}
    for word in ("Red", "。")
]


def test_logprobs_are_those_of_the_server(serve):
    def likely(request):
        if request.model == "llava":
            return [piece(each["token"], each is LOGPROBS[-1], logprobs=json.dumps([each])) for each in LOGPROBS]
        return piece("Red。", done=True, logprobs=json.dumps(LOGPROBS))

    gateway = serve(likely)
    wish = {"model": MODEL, "messages": ASKED, "logprobs": True, "top_logprobs": 1}
    content = gateway.sdk.chat.completions.create(**wish).choices[0].logprobs.content
    assert [(each.token, each.logprob, each.top_logprobs[0].token) for each in content] == [
        ("Red", -0.5, "Blue"),
        ("。", -0.5, "Blue"),
    ]
    assert content[1].bytes == list("。".encode())
    assert (gateway.asked.inputs["logprobs"][0, 0], gateway.asked.inputs["top_logprobs"][0, 0]) == (True, 1)
    chunks = [chunk.choices[0] for chunk in gateway.sdk.chat.completions.create(**wish, stream=True)]
    assert [each.logprobs.content[0].token for each in chunks if each.logprobs] == ["Red", "。"]


@pytest.mark.parametrize(
    "shape",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "图", "strict": True, "schema": {"type": "object"}}},
    ],
)
def test_what_an_answer_must_be_goes_to_the_engine_as_it_is(gateway, shape):
    gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED, response_format=shape)
    assert json.loads(gateway.asked.text("response_format")) == shape


def test_the_tokens_of_pictures_are_counted_among_those_read(gateway):
    details = gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED).usage.prompt_tokens_details
    assert (details.image_tokens, details.text_tokens) == (3, 4)


def test_an_answer_aloud_has_its_sound_and_its_words(gateway):
    messages = [{"role": "user", "content": [HEARD, image(RED)]}]
    answer = gateway.sdk.chat.completions.create(model=MODEL, messages=messages, **ALOUD)
    message = answer.choices[0].message
    assert (message.content, message.audio.transcript) == (None, "".join(CLAUSES))
    assert seconds(base64.b64decode(message.audio.data)) == pytest.approx(0.5, abs=0.01)
    assert gateway.asked.model == "voice_assistant_stream"
    assert gateway.asked.inputs["audio_bytes"][0, 0] == b"RIFF...."  # heard by the assistant itself
    assert "voice" not in gateway.asked.inputs
    assert "text_input" not in gateway.asked.inputs


def test_what_the_assistant_hears_itself_counts_as_heard(gateway):
    def heard():
        page = gateway.http.get("/metrics").text
        return float((re.findall(r'audio_seconds_total\{direction="heard"\} (\S+)', page) or [0])[0])

    before = heard()
    gateway.sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [HEARD]}], **ALOUD)
    assert heard() - before == 2.5


def test_a_question_in_words_and_sound_is_put_in_words_before_it_is_answered_aloud(gateway):
    messages = [{"role": "user", "content": [text("Say:"), HEARD]}]
    gateway.sdk.chat.completions.create(model=MODEL, messages=messages, **ALOUD)
    assert gateway.asked.text("text_input") == "Say:\nWhat color is it?"


def test_an_answer_aloud_streams_each_clause_words_first(gateway):
    wish = {**ALOUD, "audio": {"voice": {"id": "joe"}, "format": "pcm16"}}
    chunks = list(gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED, stream=True, **wish))
    parts = [chunk.choices[0].delta.model_dump(exclude_none=True).get("audio") or {} for chunk in chunks]
    assert [part["transcript"] for part in parts if "transcript" in part] == list(CLAUSES)
    sound = b"".join(base64.b64decode(part["data"]) for part in parts if "data" in part)
    assert len(sound) / 2 / 24_000 == pytest.approx(0.5, abs=0.01)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert gateway.asked.text("voice") == "joe"


def test_an_answer_aloud_counts_the_tokens_of_its_words(gateway):
    whole = gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED, **ALOUD).usage
    assert (whole.prompt_tokens, whole.completion_tokens, whole.total_tokens) == (7, 2, 9)
    seen, written = whole.prompt_tokens_details, whole.completion_tokens_details
    assert (seen.image_tokens, seen.text_tokens, seen.audio_tokens, written.audio_tokens) == (3, 4, 0, 0)
    wish = {**ALOUD, "audio": {"voice": "joe", "format": "pcm16"}, "stream_options": {"include_usage": True}}
    *chunks, last = gateway.sdk.chat.completions.create(model=MODEL, messages=ASKED, stream=True, **wish)
    assert (last.choices, last.usage) == ([], whole)
    assert [chunk.usage for chunk in chunks] == [None] * len(chunks)


def test_an_answer_that_no_voice_can_speak_is_no_success(serve):
    def silent(request):
        return [{**row, "audio": [], "speech_error": "no voice can read 'ж'"} for row in answers(request)]

    with pytest.raises(openai.InternalServerError, match="no voice can read") as caught:
        serve(silent).sdk.chat.completions.create(model=MODEL, messages=ASKED, **ALOUD)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_sound_without_words_is_asked_as_it_was_heard(serve):
    gateway = serve(lambda request: heard("你好。") if request.model == "transcribe" else answers(request))
    gateway.sdk.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [HEARD]}])
    assert gateway.asked.text("text_input") == "你好。"


def seconds(wav):
    with av.open(io.BytesIO(wav)) as file:
        return sum(frame.samples for frame in file.decode(audio=0)) / 24_000
