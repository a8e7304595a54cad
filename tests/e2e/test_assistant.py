"""The whole house: the real server, asked by the real client and by curl."""

import io
import json
import re
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tritone.vision.shapes import draw_scene, render
from tritone_client import InvalidInput

pytestmark = pytest.mark.e2e
QUESTION = "What color is the circle in this picture?"


@pytest.fixture(scope="module")
def spoken(client):
    """The question as a WAV file, spoken by the server."""
    return client.speak(QUESTION).wav


def picture(seed, *pairs):
    scene = draw_scene(Random(seed), pairs=list(pairs) or None)
    file = io.BytesIO()
    render(scene, 256).save(file, "PNG")
    return scene, file.getvalue()


def words(text):
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter.isspace()).split()


def test_a_spoken_question_about_a_picture_is_heard_answered_and_spoken(client, spoken):
    _, two = picture(1, ("red", "circle"), ("blue", "star"))
    reply = client.converse(audio=spoken, image=two)
    assert words(reply.transcript) == words(QUESTION)
    assert words(reply.text) == words("The circle is red.")
    heard = client.transcribe(reply.speech.wav)
    assert words(heard.text) == words(reply.text)
    assert heard.duration == pytest.approx(reply.speech.duration, abs=0.01)


def test_the_answer_is_true_of_twenty_pictures(client):
    spoken = {what: client.speak(f"What {what} is it?").wav for what in ("color", "shape")}
    wrong = []
    for seed in range(20):
        what = ("color", "shape")[seed % 2]
        scene = draw_scene(Random(100 + seed), count=1, allow_held_out=False)
        file = io.BytesIO()
        render(scene, 300).save(file, "PNG")
        truth = scene.things[0].colour if what == "color" else scene.things[0].shape
        reply = client.converse(audio=spoken[what], image=file.getvalue())
        if truth not in words(reply.text):
            wrong.append((seed, truth, reply.transcript, reply.text))
    assert not wrong


def test_a_recording_longer_than_a_window_is_heard_whole_and_stretch_by_stretch(client, spoken):
    samples, rate = soundfile.read(io.BytesIO(spoken), dtype="float32")
    pause = np.zeros(20 * rate, np.float32)
    audio = np.concatenate([samples, pause, samples, pause])
    whole = client.transcribe(audio, sampling_rate=rate, word_timestamps=True)
    assert words(whole.text) == words(QUESTION) * 2
    assert [word.text for word in whole.words] == QUESTION.split() * 2
    assert whole.words[8].start == pytest.approx(len(samples) / rate + 20, abs=0.7)
    chunks = list(client.transcribe_stream(audio, sampling_rate=rate))
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert " ".join(chunk.text for chunk in chunks if chunk.text) == whole.text
    assert chunks[-1].is_final
    assert chunks[-1].end == pytest.approx(whole.duration, abs=0.01)


@pytest.mark.parametrize("level", [0.0, 0.05])
def test_twenty_seconds_of_silence_or_noise_have_no_text(client, level):
    noise = level * np.random.default_rng(0).standard_normal(20 * 16000)
    heard = client.transcribe(noise.astype(np.float32), sampling_rate=16000)
    assert (heard.text, heard.segments) == ("", ())
    assert heard.duration == pytest.approx(20)


def test_streams_of_bad_sounds_fail_with_the_same_sentence(client):
    for sound, sentence in (BAD_SOUNDS["empty"], BAD_SOUNDS["NaN"]):
        with pytest.raises(InvalidInput, match=sentence):
            next(client.transcribe_stream(sound))


def test_a_written_chinese_question_gets_a_chinese_answer(client):
    _, squares = picture(2, ("green", "square"), ("yellow", "square"))
    assert client.ask("图里有几个正方形？", squares).text == "有两个正方形。"


def test_a_spoken_greeting_without_a_picture_gets_a_greeting(client):
    reply = client.converse(audio=client.speak("Hello!").wav)
    assert words(reply.transcript) == ["hello"]
    assert "hello" in words(reply.text)
    assert reply.speech.duration > 0.5


def test_a_written_question_is_answered_aloud_too(client):
    reply = client.converse(text="Who are you?")
    assert reply.transcript == "Who are you?"
    assert "tritone" in words(reply.text)
    assert client.transcribe(reply.speech.wav).text


def test_a_streamed_answer_comes_in_pieces_that_join_to_the_unary_answer(client):
    _, two = picture(3, ("purple", "heart"), ("black", "cross"))
    chunks = list(client.ask_stream("Describe the picture.", two))
    assert len(chunks) > 2
    assert chunks[0].completion_tokens == 1
    assert "".join(chunk.text for chunk in chunks) == client.ask("Describe the picture.", two).text
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]


def test_curl_streams_an_answer(server):
    body = json.dumps({"text_input": "你好。"})
    url = f"http://{server.http}/v2/models/llava/generate_stream"
    done = subprocess.run(["curl", "-sS", "--max-time", "60", url, "-d", body], capture_output=True, check=True)
    events = [json.loads(line[6:]) for line in done.stdout.decode().splitlines() if line.startswith("data: ")]
    assert "你好" in "".join(event["text_output"] for event in events)
    assert events[-1]["finish_reason"] == "stop"


def test_streams_whose_callers_leave_free_the_model_and_harm_nobody(server, client):
    """Forty who leave over sixteen slots: the server lives, and the next caller is answered."""
    _, scene = picture(5, ("white", "star"), ("pink", "heart"))

    def leave_after_the_first_piece(_):
        stream = client.ask_stream("Describe the picture.", scene)
        next(stream)
        stream.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(leave_after_the_first_piece, range(40)))
    assert client.ask("Hello.", timeout_s=20).finish_reason == "stop"
    assert server.process.poll() is None


def test_the_readmes_python_runs(server, client, spoken, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("question.wav").write_bytes(spoken)
    Path("picture.png").write_bytes(picture(6, ("red", "circle"))[1])
    exec(code.replace("localhost:8001", server.grpc), {})
    assert words(client.transcribe("answer.wav").text) == words("The circle is red.")
    assert Path("reply.wav").stat().st_size > 10_000


def flac(seconds):
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)
    soundfile.write(file, noise, 16000, format="FLAC")
    return file.getvalue()


def wav(samples):
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples, np.float32), 16000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def slow_wav(seconds):
    """A long file of few bytes: 1,000 samples a second, 8 bits each."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(seconds * 1000, np.float32), 1000, format="WAV", subtype="PCM_U8")
    return file.getvalue()


def png_bomb(side=50_000):
    """A PNG file whose header states side × side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


BAD_SOUNDS = {
    "empty": (b"", "empty"),
    "random bytes": (bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)), "no readable"),
    "a text file called .wav": ("这不是声音".encode() * 100, "no readable"),
    "a truncated FLAC": (flac(3)[:20000], "damaged"),
    "no samples": (wav([]), "0 s"),
    "over-long": (slow_wav(14_401), "14400 s"),
    "NaN": (wav([0.1, float("nan"), 0.2]), "NaN"),
}
BAD_PICTURES = {
    "empty": (b"", "empty"),
    "random bytes": (b"\x00\x01" * 300, "no readable"),
    "a bomb": (png_bomb(), "50,000"),
}


@pytest.mark.parametrize("name", BAD_SOUNDS)
def test_a_bad_sound_fails_alone_with_a_clear_sentence(client, spoken, name):
    sound, sentence = BAD_SOUNDS[name]
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(client.transcribe, spoken)
        with pytest.raises(InvalidInput, match=sentence):
            client.transcribe(sound)
        assert words(good.result().text) == words(QUESTION)


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_fails_alone_with_a_clear_sentence(client, name):
    data, sentence = BAD_PICTURES[name]
    _, good_picture = picture(4, ("orange", "square"))
    with ThreadPoolExecutor(2) as pool:
        good = pool.submit(client.ask, "What color is it?", good_picture)
        with pytest.raises(InvalidInput, match=sentence):
            client.ask("What color is it?", data)
        assert "orange" in good.result().text


def test_a_picture_of_one_pixel_is_answered(client):
    assert client.ask("How many shapes are there?", np.zeros((1, 1, 3), np.uint8)).text


@pytest.mark.parametrize(
    ("name", "rows", "sentence"),
    [
        ("empty text", [[b""]], "empty"),
        ("text over the limit", [[b"x" * 16001]], "16001"),
        ("text that is not UTF-8", [[b"caf\xe9"]], "0xe9 at offset 3"),
        ("two rows", [[b"a"], [b"b"]], "batch-size must be <= 1"),
        ("a wrong shape", [[b"a", b"b"]], "shape"),
    ],
)
def test_bad_text_fails_with_a_clear_sentence(server, name, rows, sentence):
    tensor = tritonclient.grpc.InferInput("text_input", [len(rows), len(rows[0])], "BYTES")
    tensor.set_data_from_numpy(np.array(rows, np.object_))
    with tritonclient.grpc.InferenceServerClient(server.grpc) as raw:
        with pytest.raises(InferenceServerException, match=sentence) as caught:
            raw.infer("llava_answer", [tensor], client_timeout=60)
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_wrong_dtype_and_a_missing_input_are_named(server):
    number = tritonclient.grpc.InferInput("text_input", [1, 1], "FP32")
    number.set_data_from_numpy(np.zeros((1, 1), np.float32))
    with tritonclient.grpc.InferenceServerClient(server.grpc) as raw:
        with pytest.raises(InferenceServerException, match="data-type"):
            raw.infer("llava_answer", [number], client_timeout=60)
        with pytest.raises(InferenceServerException, match="text"):
            raw.infer("tts", [], client_timeout=60)
        language = tritonclient.grpc.InferInput("language", [1, 1], "BYTES")
        language.set_data_from_numpy(np.array([[b"en"]], np.object_))
        with pytest.raises(InferenceServerException, match="neither"):
            raw.infer("transcribe", [language], client_timeout=60)
