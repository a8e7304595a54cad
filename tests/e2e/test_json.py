"""Plain JSON over HTTP, as curl sends it: pictures and sounds in, files out, and never broken text."""

import base64
import http.client
import io
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from e2e.test_assistant import QUESTION, picture, words
from PIL import Image

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SENTENCE = 'JSON holds no bytes: send "binary": "base64" along to have them as text'


@pytest.fixture(scope="module")
def question(client):
    """A spoken question, as base64."""
    return base64.b64encode(client.speak(QUESTION).wav).decode()


@pytest.fixture
def generate(server):
    """generate(model, **inputs): the status and the JSON of an answer; `generate.stream`: the JSON of each event."""

    def post(model, kind, inputs):
        connection = http.client.HTTPConnection(server.http, timeout=120)
        try:
            connection.request("POST", f"/v2/models/{model}/{kind}", json.dumps(inputs))
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")  # strict: broken text is no JSON
        finally:
            connection.close()

    def unary(model, **inputs):
        status, body = post(model, "generate", inputs)
        return status, json.loads(body)

    def stream(model, **inputs):
        _, body = post(model, "generate_stream", inputs)
        return [json.loads(event.removeprefix("data: ")) for event in body.split("\n\n") if event]

    unary.stream = stream
    return unary


def text(file):
    return base64.b64encode(file).decode()


def url(file, kind="image/png"):
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{text(file)}", "detail": "auto"}}


def red_circle():
    return picture(6, ("red", "circle"))[1]


@pytest.mark.parametrize("write", [text, lambda file: "data:audio/wav;base64," + text(file)])
def test_a_picture_in_gives_its_colour(generate, write):
    file = red_circle()
    status, answer = generate("llava_answer", text_input="What color is the circle?", image_bytes=write(file))
    assert (status, answer["text_output"]) == (200, "The circle is red.")
    events = generate.stream("llava", text_input="图里的圆形是什么颜色？", image_bytes=[write(file)])
    assert "红" in "".join(event["text_output"] for event in events)


def test_openais_messages_alone_are_answered(generate):
    turns = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "What color is the circle?"}, url(red_circle())]},
    ]
    assert "red" in generate("llava_answer", messages=json.dumps(turns))[1]["text_output"]
    turns[1]["content"][0]["text"] = "图里的圆形是什么颜色？"
    events = generate.stream("llava", messages=json.dumps(turns, ensure_ascii=False))
    assert "红" in "".join(event["text_output"] for event in events)


def test_an_openai_chat_with_a_spoken_question_fits_in_one_call(generate, client, question):
    sound = {"type": "input_audio", "input_audio": {"data": question, "format": "wav"}}
    turns = [{"role": "user", "content": [url(red_circle()), sound]}]
    chunks = generate.stream("voice_assistant_stream", messages=json.dumps(turns), binary="base64")
    assert words(chunks[0]["transcript"]) == words(QUESTION)
    answer = "".join(chunk["text_output"] for chunk in chunks)
    assert "red" in answer
    heard = [client.transcribe(base64.b64decode(chunk["audio_wav"])).text for chunk in chunks[1:]]
    assert words(" ".join(heard)) == words(answer)
    assert all("audio" not in chunk for chunk in chunks)


def test_base64_reaches_through_an_ensemble_and_changes_nothing_between_its_steps(generate, client, question):
    inputs = {"audio_bytes": question, "image_bytes": text(red_circle())}
    status, answer = generate("voice_assistant", **inputs, parameters={"binary": "base64"})
    assert status == 200
    assert words(answer["transcript"]) == words(QUESTION)
    assert words(client.transcribe(base64.b64decode(answer["audio_wav"])).text) == words(answer["text_output"])
    assert "red" in answer["text_output"]


def test_without_a_wish_json_has_a_sentence_for_each_file(generate):
    status, answer = generate("voice_assistant", text_input="Hello.")
    assert (status, answer["audio_wav"]) == (200, SENTENCE)
    assert answer["text_output"]
    spoken = generate("tts", text="你好。")[1]
    assert (spoken["audio_wav"], spoken["audio_bytes"]) == (SENTENCE, SENTENCE)
    assert spoken["sampling_rate"] > 8_000
    assert "audio" not in spoken
    for event in generate.stream("speak_stream", text="Good morning. 早上好。"):
        assert (event["audio_wav"], "audio" in event) == (SENTENCE, False)
    drawn = generate("text_to_image", prompt="a red circle", seed=1, num_inference_steps=2)[1]
    assert (drawn["image_png"], drawn["seed"], "image" in drawn) == (SENTENCE, 1, False)


def test_pictures_come_out_as_text_and_go_in_again(generate):
    wish = {"prompt": "a red circle", "num_inference_steps": 4, "binary": "base64"}
    *progress, last = generate.stream("stable_diffusion", **wish, preview_interval=2)
    files = [event["preview_png"] for event in progress if "preview_png" in event] + [last["image_png"]]
    pictures = [Image.open(io.BytesIO(base64.b64decode(file))) for file in files]
    assert [image.size for image in pictures] == [pictures[-1].size] * len(files)
    assert len(files) > 1
    again = generate("text_to_image", **wish, image_bytes=files[-1], mask_bytes="data:;base64," + files[-1])
    assert again[0] == 200
    embeds = [
        generate("clip_image", image_bytes=data)[1]["image_embeds"] for data in (files[-1], again[1]["image_png"])
    ]
    assert np.linalg.norm(embeds, axis=1) == pytest.approx([1, 1], abs=1e-3)


def test_callers_who_can_read_bytes_get_them(server):
    for module, address in ((tritonclient.grpc, server.grpc), (tritonclient.http, server.http)):
        tensor = module.InferInput("text", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([["你好。".encode()]], np.object_))
        with module.InferenceServerClient(address) as raw:
            plain, wished = raw.infer("tts", [tensor]), raw.infer("tts", [tensor], parameters={"binary": "base64"})
        assert plain.as_numpy("audio_wav")[0, 0].startswith(b"RIFF")
        file = base64.b64decode(wished.as_numpy("audio_wav")[0, 0], validate=True)
        assert (file[:4], len(file)) == (b"RIFF", len(plain.as_numpy("audio_wav")[0, 0]))
        assert wished.as_numpy("audio").shape == plain.as_numpy("audio").shape


BAD = {
    "a URL": ({"image_bytes": "https://example.com/cat.png"}, "image_bytes is a URL, and this server fetches none"),
    "a file's URL": ({"image_bytes": "file:///etc/passwd"}, "image_bytes is a URL"),
    "broken base64": ({"image_bytes": text(b"x" * 99)[:-3]}, "image_bytes is broken base64 of 129 letters"),
    "a data URL of text": ({"image_bytes": "data:image/png,hello"}, "without ';base64'"),
    "no picture": ({"image_bytes": text(b"no picture")}, "image_bytes is no readable PNG"),
    "too large": ({"image_bytes": "A" * (48 * 2**20)}, "37,748,736 bytes, the limit is 33,554,432 bytes"),
    "a sound": (
        {"messages": json.dumps([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}])},
        "llava cannot hear; ask voice_assistant_stream",
    ),
    "a picture elsewhere": (
        {
            "messages": json.dumps(
                [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a"}}]}]
            )
        },
        "messages at 0.content.0.image_url is a URL",
    ),
    "a wish": ({"binary": "hex"}, "the parameter binary is 'hex', must be 'base64'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_fails_alone_with_a_clear_sentence(generate, name):
    inputs, sentence = BAD[name]
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(generate, "llava_answer", text_input="What color is it?", image_bytes=text(red_circle()))
        status, answer = generate("llava_answer", text_input="What is it?", **inputs)
        assert (status, sentence in answer["error"]) == (400, True), answer
        assert "red" in good.result()[1]["text_output"]


def test_a_deadline_ends_the_work(generate):
    """In microseconds, as everywhere in Triton's protocol."""
    status, answer = generate("llava_answer", text_input="Tell me a story.", timeout=1)
    assert status >= 400
    assert "deadline of 0.0 s has passed" in answer["error"]
    [event] = generate.stream("llava", text_input="Tell me a story.", timeout=1)
    assert "deadline of 0.0 s has passed" in event["error"]


def test_the_readmes_curl_runs(server, client, tmp_path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [script] = re.findall(r"```sh\n(curl.*?)```", readme, re.DOTALL)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("localhost:8000", server.http)],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [*events, seen] = done.stdout.strip().split("\n")
    assert any('"text_output":' in event for event in events)
    assert seen == "The circle is red."
    assert words(client.transcribe(tmp_path / "answer.wav").text) == words("The circle is red.")
