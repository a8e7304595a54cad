"""The gateway as users have it: OpenAI's own SDK in front, the command `tritone gateway`, the real server behind."""

import base64
import io
import json
import re
from pathlib import Path
from random import Random

import httpx
import numpy as np
import openai
import pytest
import soundfile
from PIL import Image
from test_llava_engine import ENDLESS, idle, metrics, wait_for

from tritone.vision.shapes import draw_scene, render

pytestmark = pytest.mark.e2e
QUESTION = "What color is the circle in this picture?"
EXTENSIONS = {name: ENDLESS[name] for name in ("repetition_penalty",)}
ENDLESS_CHAT = {
    "model": "llava",
    "messages": [{"role": "user", "content": "Tell me a story."}],
    **{name: ENDLESS[name] for name in ("temperature", "seed", "max_tokens")},
}


@pytest.fixture(scope="module")
def sdk(gateway_url):
    with openai.OpenAI(base_url=f"{gateway_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def http(gateway_url):
    with httpx.Client(base_url=gateway_url, timeout=60) as client:
        yield client


def png(*pairs, seed=1, size=256):
    file = io.BytesIO()
    render(draw_scene(Random(seed), pairs=list(pairs)), size).save(file, "PNG")
    return file.getvalue()


RED_CIRCLE = png(("red", "circle"))
TWO = png(("red", "circle"), ("blue", "star"))


def data_url(picture):
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def about(picture, question):
    shown = {"type": "image_url", "image_url": {"url": data_url(picture)}}
    return [{"role": "user", "content": [shown, {"type": "text", "text": question}]}]


def words(text):
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter.isspace()).split()


@pytest.fixture(scope="module")
def question(sdk):
    """The question as a WAV file, spoken by the gateway."""
    return sdk.audio.speech.create(model="tts", voice="alloy", input=QUESTION, response_format="wav").read()


def test_a_picture_is_asked_about_in_english_and_chinese(sdk):
    english = sdk.chat.completions.create(model="llava", messages=about(TWO, QUESTION))
    assert english.choices[0].message.content == "The circle is red."
    assert english.choices[0].finish_reason == "stop"
    assert english.usage.total_tokens == english.usage.prompt_tokens + english.usage.completion_tokens > 10
    chinese = sdk.chat.completions.create(model="llava", messages=about(TWO, "圆形是什么颜色？"))
    assert "红" in chinese.choices[0].message.content


def test_a_stream_is_the_same_answer_and_counts_the_same(sdk):
    whole = sdk.chat.completions.create(model="llava", messages=about(TWO, "Describe the picture."))
    wish = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, last = sdk.chat.completions.create(model="llava", messages=about(TWO, "Describe the picture."), **wish)
    said = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(said) == whole.choices[0].message.content
    assert last.usage == whole.usage


def test_options_change_the_answer_as_they_say(sdk):
    short = sdk.chat.completions.create(model="llava", messages=about(TWO, "Describe the picture."), max_tokens=3)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 3)
    drawn = [
        sdk.chat.completions.create(**{**ENDLESS_CHAT, "max_tokens": 12, "seed": seed}, extra_body=EXTENSIONS)
        for seed in (4, 4, 5)
    ]
    texts = [answer.choices[0].message.content for answer in drawn]
    assert texts[0] == texts[1] != texts[2]
    with pytest.raises(openai.BadRequestError, match="max_tokens is 100000") as caught:
        sdk.chat.completions.create(model="llava", messages=about(TWO, "?"), max_tokens=100_000)
    assert caught.value.param == "max_tokens"


def test_an_answer_is_json_of_a_schema_and_tells_how_likely_it_was(sdk):
    schema = {
        "type": "object",
        "properties": {"color": {"enum": ["red", "blue", "红色"]}},
        "required": ["color"],
        "additionalProperties": False,
    }
    shape = {"type": "json_schema", "json_schema": {"name": "circle", "strict": True, "schema": schema}}
    wish = {"model": "llava", "messages": about(TWO, QUESTION), "response_format": shape, "logprobs": True}
    choice = sdk.chat.completions.create(**wish, top_logprobs=2).choices[0]
    assert json.loads(choice.message.content)["color"] in schema["properties"]["color"]["enum"]
    content = choice.logprobs.content
    assert b"".join(bytes(each.bytes) for each in content).decode() == choice.message.content
    assert all(each.logprob <= 0 and len(each.top_logprobs) == 2 for each in content)
    picture = sdk.chat.completions.create(model="llava", messages=about(TWO, QUESTION)).usage.prompt_tokens_details
    assert picture.image_tokens > 0


def test_a_spoken_question_is_answered_in_writing_and_aloud(sdk, question):
    shown = about(TWO, "")[0]["content"][0]
    heard = {"type": "input_audio", "input_audio": {"data": base64.b64encode(question).decode(), "format": "wav"}}
    messages = [{"role": "user", "content": [shown, heard]}]
    written = sdk.chat.completions.create(model="llava", messages=messages)
    assert words(written.choices[0].message.content) == words("The circle is red.")
    aloud = {"modalities": ["text", "audio"], "audio": {"voice": "nova", "format": "mp3"}}
    answer = sdk.chat.completions.create(model="llava", messages=messages, **aloud)
    assert answer.usage == written.usage
    assert answer.usage.prompt_tokens > answer.usage.prompt_tokens_details.image_tokens > 0
    spoken = answer.choices[0].message.audio
    assert words(spoken.transcript) == words("The circle is red.")
    again = sdk.audio.transcriptions.create(model="whisper", file=("a.mp3", base64.b64decode(spoken.data)))
    assert words(again.text) == words("The circle is red.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_voice_that_there_is_not_is_refused_before_anything_is_thought(sdk, server, stream):
    thought = metrics(server)["prompt_tokens_total"]
    aloud = {"modalities": ["text", "audio"], "audio": {"voice": "小美", "format": "pcm16"}}
    with pytest.raises(openai.BadRequestError, match="voice '小美' is unknown; voices and their languages: ") as caught:
        sdk.chat.completions.create(**ENDLESS_CHAT, **aloud, stream=stream, extra_body=EXTENSIONS)
    assert caught.value.param == "audio"
    assert metrics(server)["prompt_tokens_total"] == thought


def test_an_answer_aloud_streams_as_pcm(sdk):
    aloud = {"modalities": ["text", "audio"], "audio": {"voice": "nova", "format": "pcm16"}, "stream": True}
    transcript, sound = "", b""
    wish = {**aloud, "stream_options": {"include_usage": True}}
    *chunks, last = sdk.chat.completions.create(model="llava", messages=about(TWO, QUESTION), **wish)
    assert last.usage == sdk.chat.completions.create(model="llava", messages=about(TWO, QUESTION)).usage
    for chunk in chunks:
        audio = (chunk.choices[0].delta.model_extra or {}).get("audio") or chunk.choices[0].delta.audio
        audio = audio if isinstance(audio, dict) or audio is None else audio.model_dump()
        transcript += (audio or {}).get("transcript") or ""
        sound += base64.b64decode((audio or {}).get("data") or "")
    file = io.BytesIO()
    soundfile.write(file, np.frombuffer(sound, "<i2"), 24_000, format="WAV")
    heard = sdk.audio.transcriptions.create(model="whisper", file=("a.wav", file.getvalue()))
    assert words(heard.text) == words(transcript) == words("The circle is red.")


def test_responses_remember_what_is_sent_with_them(sdk):
    first = [
        {"type": "input_image", "image_url": data_url(RED_CIRCLE), "detail": "auto"},
        {"type": "input_text", "text": "What shape is this?"},
    ]
    shape = sdk.responses.create(model="llava", input=[{"role": "user", "content": first}])
    assert "circle" in shape.output_text
    turns = [
        {"role": "user", "content": first},
        *shape.to_dict()["output"],
        {"role": "user", "content": "What color is it?"},
    ]
    colour = sdk.responses.create(model="llava", input=turns)
    assert "red" in colour.output_text
    events = list(sdk.responses.create(model="llava", input=turns, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == colour.output_text
    assert events[-1].type == "response.completed"


def test_pictures_are_found_by_words_in_both_languages(sdk, http):
    pictures = [png(pair) for pair in (("red", "circle"), ("blue", "star"), ("green", "square"))]
    body = {"model": "clip", "documents": [data_url(picture) for picture in pictures]}
    for query, best in (("a red circle", 0), ("蓝色的星形", 1), ({"image": data_url(pictures[2])}, 2)):
        assert http.post("/v1/rank", json={**body, "query": query}).json()["results"][0]["index"] == best
    vectors = sdk.embeddings.create(model="clip", input=["a red circle", "红色的圆形", *body["documents"]]).data
    found = np.array([each.embedding for each in vectors])
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-4)
    assert (found[:2] @ found[2:].T).argmax(axis=1).tolist() == [0, 0]


def test_a_picture_shows_what_its_prompt_says(sdk, http):
    shapes = ["a red circle", "a blue triangle", "a green square", "一个黄色的星形"]
    for prompt in (shapes[1], shapes[3]):
        drawn = sdk.images.generate(model="stable_diffusion", prompt=prompt, extra_body={"seed": 1})
        query = {"image": "data:image/png;base64," + drawn.data[0].b64_json}
        ranked = http.post("/v1/rank", json={"query": query, "documents": shapes}).json()["results"]
        assert shapes[ranked[0]["index"]] == prompt
    again = sdk.images.generate(model="stable_diffusion", prompt=shapes[3], extra_body={"seed": drawn.data[0].seed})
    assert again.data[0].b64_json == drawn.data[0].b64_json


def test_previews_come_before_the_same_picture(sdk):
    wish = {"model": "stable_diffusion", "prompt": "a red circle", "extra_body": {"seed": 5}}
    whole = sdk.images.generate(**wish)
    *previews, last = sdk.images.generate(**wish, stream=True, partial_images=2)
    assert [event.partial_image_index for event in previews] == [0, 1]
    assert last.b64_json == whole.data[0].b64_json
    target, shown = pixels(last.b64_json), [pixels(preview.b64_json) for preview in previews]
    assert np.abs(shown[1] - target).mean() < np.abs(shown[0] - target).mean()


def test_an_edit_changes_what_is_transparent_in_the_mask_and_nothing_else(sdk):
    side = pixels(sdk.images.generate(model="stable_diffusion", prompt="a red circle").data[0].b64_json).shape[0]
    picture = png(("red", "circle"), size=side)
    hole = Image.new("RGBA", (side, side), (0, 0, 0, 255))
    hole.paste((0, 0, 0, 0), (0, 0, side // 2, side))
    mask = io.BytesIO()
    hole.save(mask, "PNG")
    edited = sdk.images.edit(
        model="stable_diffusion", image=("a.png", picture), mask=("m.png", mask.getvalue()), prompt="a blue star"
    )
    before, after = pixels(base64.b64encode(picture)), pixels(edited.data[0].b64_json)
    change = np.abs(after - before).mean(axis=2)
    assert change[:, side // 2 + 8 :].mean() < 12 < change[:, : side // 2].mean()


def pixels(b64):
    return np.array(Image.open(io.BytesIO(base64.b64decode(b64))).convert("RGB"), float)


def test_what_is_spoken_is_heard(sdk, question):
    assert words(sdk.audio.transcriptions.create(model="whisper-1", file=("q.wav", question)).text) == words(QUESTION)
    opus = sdk.audio.speech.create(model="tts-1", voice="onyx", input="The circle is red.", response_format="opus")
    heard = sdk.audio.transcriptions.create(model="whisper", file=("a.ogg", opus.read()), stream=True)
    events = list(heard)
    assert words(events[-1].text) == words("The circle is red.")
    chinese = sdk.audio.speech.create(model="tts", voice="alloy", input="它是红色的。", response_format="pcm").read()
    assert len(chinese) / 48_000 > 0.5


def test_words_and_captions_have_their_times(sdk, question):
    wish = {"model": "whisper", "file": ("q.wav", question)}
    srt = sdk.audio.transcriptions.create(**wish, response_format="srt")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\nWhat color", srt)
    told = sdk.audio.transcriptions.create(
        **wish, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert words(" ".join(word.word for word in told.words)) == words(QUESTION)
    assert told.words == sorted(told.words, key=lambda word: word.start)
    assert told.segments[0].tokens
    assert -2 < told.segments[0].avg_logprob < 0
    assert 0 <= told.segments[0].no_speech_prob < 0.5
    with pytest.raises(openai.BadRequestError, match="multilingual"):
        sdk.audio.translations.create(**wish)


def test_a_text_is_aligned_with_its_recording(http, question):
    told = http.post("/v1/audio/alignments", files={"file": question}, data={"text": QUESTION}).json()
    assert [word["word"] for word in told["words"]] == QUESTION.split()
    assert told["matches"]
    starts = [word["start"] for word in told["words"]]
    assert starts == sorted(starts)
    assert 0 < starts[-1] < told["duration"]


def test_the_examples_of_the_readme_run(gateway_url, tmp_path, monkeypatch, capsys):
    readme = (Path(__file__).parents[2] / "gateway/README.md").read_text("utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)).replace("http://127.0.0.1:8080", gateway_url)
    (tmp_path / "picture.png").write_bytes(TWO)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "gateway/README.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.count("The circle is red.") >= 3  # written, aloud, and heard again
    assert "图形" in said


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_leaves_frees_his_place_in_the_engine(server, gateway_url, stream):
    wait_for(lambda: idle(server))
    before = metrics(server)
    body = {**ENDLESS_CHAT, **EXTENSIONS, "stream": stream}
    with httpx.Client(base_url=gateway_url, timeout=0.6) as caller:
        if stream:
            with caller.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert "data: " in next(answer.iter_text())
        else:
            with pytest.raises(httpx.ReadTimeout):
                caller.post("/v1/chat/completions", json=body)
    wait_for(lambda: metrics(server)["cancelled_total"] == before["cancelled_total"] + 1)
    wait_for(lambda: idle(server))
    assert metrics(server)["tokens_total"] - before["tokens_total"] < ENDLESS["max_tokens"]


def test_the_models_of_the_server_are_listed(sdk, http):
    assert {model.id for model in sdk.models.list()} >= {
        "llava",
        "clip",
        "stable_diffusion",
        "whisper",
        "tts",
        "aligner",
    }
    assert http.get("/ready").json() == {"status": "ready"}
    body = json.dumps({"model": "sd_unet", "input": "a"})
    assert http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"}).status_code == 404
