"""/v1/realtime with the real server: other people's clients, unmodified, talk about a picture and interrupt.

What they run is in tests/clients/programs; they print what they were told, and here it is judged.
"""

import base64
import contextlib
import io
import json
import re
import subprocess
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
import soxr
from realtime_caller import calling

from install_clients import install
from tritone.vision.shapes import draw_scene, render

pytestmark = pytest.mark.e2e
PROGRAMS = Path(__file__).parent.parent / "clients" / "programs"
QUESTION, ANSWER = "What color is the circle?", "The circle is red."
FOLLOW_UP = "What shape is it?"


@pytest.fixture(scope="module")
def samples(tmp_path_factory, client):
    """A folder with a picture of a red circle and two spoken questions about it, at 24 kHz."""
    folder = tmp_path_factory.mktemp("samples")
    render(draw_scene(Random(1), pairs=[("red", "circle")]), 256).save(folder / "picture.png")
    for name, text in (("question", QUESTION), ("follow_up", FOLLOW_UP)):
        speech = client.speak(text)
        soundfile.write(folder / f"{name}.wav", soxr.resample(speech.audio, speech.sampling_rate, 24_000), 24_000)
    return folder


@pytest.fixture(scope="module")
def said(gateway_url, samples):
    """What a program prints: `said("openai_realtime", "openai", "server_vad")`."""

    def run(program, client, *arguments):
        command = [install(client), PROGRAMS / f"{program}.py", f"{gateway_url}/v1", samples, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def spoken(client):
    """The words in PCM samples at 24 kHz, in base64."""

    def words(pcm):
        file = io.BytesIO()
        soundfile.write(file, np.frombuffer(base64.b64decode(pcm), "<i2"), 24_000, format="WAV")
        return plain(client.transcribe(file.getvalue()).text)

    return words


def plain(text):
    return re.sub(r"[^\w ]", "", text.lower()).strip()


def text_of(turn):
    return turn["response"]["output"][0]["content"][0]["transcript"]


@pytest.mark.parametrize("detection", ["server_vad", "semantic_vad"])
def test_the_openai_package_talks_about_a_picture_and_interrupts(said, spoken, detection):
    told = said("openai_realtime", "openai", detection)
    first, left, second = told["first"], told["left"], told["second"]
    assert text_of(first) == ANSWER
    assert spoken(first["pcm"]) == plain(ANSWER)
    assert ANSWER.startswith(left["transcript"])
    assert 0 < len(left["transcript"]) < len(ANSWER)
    assert len(base64.b64decode(left["audio"])) == 700 * 48
    assert "circle" in text_of(second)
    assert spoken(second["pcm"]) == plain(text_of(second))
    assert [plain(text) for text in told["transcripts"]["completed"]] == [plain(QUESTION), plain(FOLLOW_UP)]
    assert "".join(told["transcripts"]["deltas"]) == "".join(told["transcripts"]["completed"])
    assert first["response"]["usage"]["input_token_details"]["image_tokens"] > 0


def test_words_come_while_they_are_still_said(gateway_url, client):
    """The rest of the speech is sent once the first words have come."""
    speech = client.speak(f"{ANSWER} {QUESTION} {ANSWER} {FOLLOW_UP}")
    samples = soxr.resample(speech.audio, speech.sampling_rate, 24_000)
    pcm, place, piece = (samples * 32767).astype("<i2").tobytes(), 0, 19_200
    with calling(gateway_url, "intent=transcription") as caller:
        caller.next()
        while not any(event["type"].endswith(".delta") for event in caller.seen):
            assert place < len(pcm), "it was all said, and no word had come"
            caller.speak(pcm[place : place + piece])
            place += piece
            with contextlib.suppress(TimeoutError):
                caller.next(timeout=2)
        caller.speak(pcm[place:] + bytes(96_000))
        events = caller.until("conversation.item.input_audio_transcription.completed", timeout=60)
        deltas = [event["delta"] for event in caller.seen if event["type"].endswith(".delta")]
        assert "".join(deltas) == events[-1]["transcript"]
        assert plain("".join(deltas)).startswith(plain(ANSWER))


def test_a_chinese_answer_is_cut_at_the_word_that_was_heard(gateway_url, samples):
    picture = base64.b64encode((samples / "picture.png").read_bytes()).decode()
    shown = {"type": "input_image", "image_url": f"data:image/png;base64,{picture}"}
    asked = {"type": "input_text", "text": "圆是什么颜色？"}
    with calling(gateway_url) as caller:
        caller.next()
        item = {"type": "message", "role": "user", "content": [shown, asked]}
        caller.send("conversation.item.create", item=item)
        caller.until("conversation.item.done")
        events = caller.answer()
        answer = events[-1]["response"]["output"][0]
        whole = answer["content"][0]["transcript"]
        assert "红" in whole
        [said] = [e for e in events if e["type"] == "response.output_audio_transcript.delta"]
        assert "".join(word["word"] for word in said["words"]) == whole
        first, second = said["words"][:2]
        heard_ms = round(1000 * (first["end"] + second["start"]) / 2)
        caller.told("conversation.item.truncate", item_id=answer["id"], content_index=0, audio_end_ms=heard_ms)
        assert caller.retrieve(answer["id"])["content"][0]["transcript"] == first["word"]


def test_openai_agents_is_interrupted_and_remembers_what_was_heard(said, spoken):
    told = said("agents_realtime", "openai-agents")
    first, second = told["answers"]
    assert ANSWER.startswith(first)
    assert 0 < len(first) < len(ANSWER)
    assert "circle" in second
    assert [spoken(pcm) for pcm in told["sound"]] == [plain(ANSWER), plain(second)]
    assert (told["interrupted"] >= 1, told["errors"]) == (True, [])


def test_pipecats_realtime_service_shows_hears_and_speaks(said, spoken):
    told = said("pipecat_realtime", "pipecat")
    assert told["said"].endswith(ANSWER)
    assert [plain(text) for text in told["heard"]] == [plain(QUESTION)]
    assert spoken(told["pcm"]).endswith(plain(ANSWER))
    assert told["errors"] == []


@pytest.mark.clients
def test_the_npm_agent_is_interrupted_and_remembers_what_was_heard(gateway_url, samples, spoken, tmp_path):
    for file in (PROGRAMS.parent / "npm_realtime").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=tmp_path, check=True, timeout=200)
    command = ["node", "agents_realtime.mjs", f"{gateway_url}/v1", str(samples)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    first, second = told["answers"]
    assert ANSWER.startswith(first)
    assert 0 < len(first) < len(ANSWER)
    assert "circle" in second
    assert [spoken(pcm) for pcm in told["sound"]] == [plain(ANSWER), plain(second)]
    assert (told["interrupted"] >= 1, told["errors"]) == (True, [])
