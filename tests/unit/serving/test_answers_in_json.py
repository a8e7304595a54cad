"""Files among the outputs: bytes, base64 text where the caller wishes it, and what JSON gets instead of them."""

import asyncio
import base64
import io
import os

import numpy as np
import pytest
import soundfile
import triton_python_backend_utils as pb_utils
from unit.serving.small_models import INVALID, finish, make_model, request

from tritone import pulse
from tritone.serving import bls, estimates

SENTENCE = b'JSON holds no bytes: send "binary": "base64" along to have them as text'
WAV = b"RIFF\x00\xff\xfe"
OUTPUTS = [
    {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
    {"name": "audio", "data_type": "TYPE_FP32", "dims": [-1]},
    {"name": "audio_wav", "data_type": "TYPE_STRING", "dims": [1]},
    {"name": "image_png", "data_type": "TYPE_STRING", "dims": [-1]},
    {"name": "word_start", "data_type": "TYPE_FP32", "dims": [-1]},
]
NAMES = tuple(output["name"] for output in OUTPUTS)
ROW = {
    "text": "你好",
    "audio": [0.5, -0.5],
    "audio_wav": lambda: WAV,
    "image_png": [b"\x89PNG", b""],
    "word_start": [0.1],
}


@pytest.fixture
def marks(monkeypatch):
    """As under `tritone serve`, where Triton's front ends mark their requests."""
    monkeypatch.setenv(pulse.MARKS, "host,user-agent")


def answered(parameters=None, outputs=NAMES, **config):
    [response] = make_model(output=OUTPUTS, **config).run_each(
        [request("x", outputs=outputs, parameters=parameters)], lambda **_: ROW
    )
    return response


def as_lists(response):
    return {tensor.name(): tensor.as_numpy()[0].tolist() for tensor in response.output_tensors()}


FROM_HTTP, FROM_GRPC = {"Host": "127.0.0.1:8000"}, {"user-agent": "grpc-python/1.68"}


@pytest.mark.parametrize("parameters", [FROM_HTTP, FROM_GRPC, {"HOST": "x", "binary": ""}])
def test_who_can_read_bytes_gets_them(marks, parameters):
    response = answered(parameters)
    assert as_lists(response) == {
        "text": ["你好".encode()],
        "audio": [0.5, -0.5],
        "audio_wav": [WAV],
        "image_png": [b"\x89PNG", b""],
        "word_start": [pytest.approx(0.1)],
    }


def test_a_bare_tritonserver_marks_nothing_and_everybody_gets_bytes():
    assert pulse.MARKS not in os.environ
    assert as_lists(answered())["audio_wav"] == [WAV]
    assert as_lists(answered({"binary": "base64"}))["audio_wav"] == [base64.b64encode(WAV)]


def test_what_becomes_json_has_a_sentence_in_place_of_files_and_no_samples(marks):
    response = answered({"max_tokens": 3})
    assert as_lists(response) == {
        "text": ["你好".encode()],
        "audio_wav": [SENTENCE],
        "image_png": [SENTENCE],
        "word_start": [pytest.approx(0.1)],
    }


@pytest.mark.parametrize("origin", [{}, FROM_HTTP, FROM_GRPC])
def test_base64_is_for_files_alone_and_over_every_protocol(marks, origin):
    lists = as_lists(answered({"binary": "base64", **origin}))
    assert lists["text"] == ["你好".encode()]
    assert lists["audio_wav"] == [base64.b64encode(WAV)]
    assert [base64.b64decode(item) for item in lists["image_png"]] == [b"\x89PNG", b""]
    assert ("audio" in lists) == bool(origin)


@pytest.mark.parametrize(("value", "shown"), [("hex", "hex"), (True, "True"), ("x" * 99, "x" * 40)])
def test_another_wish_is_refused_with_its_name(marks, value, shown):
    response = answered({"binary": value})
    assert response.error().code() == INVALID
    assert response.error().message() == f"the parameter binary is '{shown}', must be 'base64'"


def test_a_model_without_files_keeps_its_samples_in_json(marks):
    """Such as audio_decoder, a step of an ensemble."""
    output = [OUTPUTS[1]]
    [response] = make_model(output=output).run_each([request("x", outputs=("audio",))], lambda **_: ROW)
    assert as_lists(response) == {"audio": [0.5, -0.5]}


def test_fellow_models_always_pass_bytes(marks):
    """Whatever the caller wished of the face: its own calls carry the server's token and nothing of his."""
    heard = []

    def mouth(asked):
        heard.append(asked.parameters())
        return make_model(output=OUTPUTS, name="mouth").run_each([asked], lambda **_: ROW)

    pb_utils.MODELS["mouth"] = mouth

    async def face(text):
        row = await bls.call("mouth", {"text": text}, ["audio_wav", "audio"])
        assert row["audio_wav"].tolist() == [WAV]
        assert row["audio"].tolist() == [0.5, -0.5]
        return {"audio_wav": row["audio_wav"], "text": "said"}

    asked = request("x", outputs=NAMES, parameters={"binary": "base64"})
    make_model(output=OUTPUTS).answer_later([asked], face)
    [[response]] = finish(asked)
    assert as_lists(response)["audio_wav"] == [base64.b64encode(WAV)]
    assert "binary" not in heard[0]


def test_a_stranger_who_says_that_he_is_inside_gets_what_he_asked_for(marks):
    inside = {"token": pulse.token(pulse.folder())}
    assert as_lists(answered({"token": "guess", "binary": "base64"}))["audio_wav"] == [base64.b64encode(WAV)]
    assert as_lists(answered({**inside, "binary": "base64"}))["audio_wav"] == [WAV]


def test_every_response_of_a_stream_is_json_too(marks):
    model = make_model(output=OUTPUTS, model_transaction_policy={"decoupled": True})
    rows = [{"text": "a", "audio_wav": b"\xff"}, {"text": "b", "audio": [1.0]}, {"text": "c", "audio_wav": b"\xfe"}]

    async def generate(text):
        for row in rows:
            yield row
            await asyncio.sleep(0)

    plain, wished = request("x", outputs=NAMES), request("x", outputs=NAMES, parameters={"binary": "base64"})
    model.stream([plain, wished], generate)
    assert [as_lists(response) for response in finish(plain)[0]] == [
        {"text": [b"a"], "audio_wav": [SENTENCE]},
        {"text": [b"b"]},
        {"text": [b"c"], "audio_wav": [SENTENCE]},
    ]
    assert [as_lists(response).get("audio_wav") for response in finish(wished)[0]] == [[b"/w=="], None, [b"/g=="]]


@pytest.mark.parametrize("encode", [bytes, base64.b64encode, lambda file: b"data:;base64," + base64.b64encode(file)])
def test_the_door_counts_the_same_seconds_for_a_sound_and_for_its_text(encode):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(48_000 * 3, np.float32), 48_000, format="WAV")
    assert estimates.seconds_of_sound(encode(file.getvalue())) == 3.0


def test_sounds_within_messages_count_as_well():
    quiet, loud = '[{"type": "text"}]', '[{"type": "input_audio", "data": "' + "A" * 160_000 + '"}]'
    assert estimates.seconds_of_sound(messages=quiet) == estimates.TYPED_S
    assert 10 < estimates.seconds_of_sound(messages=loud) < 11
