"""Other people's clients, unmodified, each in an environment of its own, in front of the gateway and the real server.

What they run is in tests/clients/programs; they print what they were answered, and here it is judged.
"""

import base64
import io
import json
import os
import re
import subprocess
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
from PIL import Image

from install_clients import USUAL, install
from tritone import checkpoints
from tritone.vision.shapes import draw_scene, render

pytestmark = pytest.mark.e2e
PROGRAMS = Path(__file__).parent.parent / "clients" / "programs"
QUESTION = "What color is the circle?"
ANSWER = "The circle is red."


@pytest.fixture(scope="module")
def samples(tmp_path_factory, client):
    """A folder with a picture of a red circle and a spoken question about it."""
    folder = tmp_path_factory.mktemp("samples")
    render(draw_scene(Random(1), pairs=[("red", "circle")]), 256).save(folder / "picture.png")
    client.speak(QUESTION).save(folder / "question.wav")
    return folder


@pytest.fixture(scope="module")
def said(gateway_url, samples):
    """What a program prints: `said("agents_run", "openai-agents")`."""

    def run(program, client, *arguments):
        command = [install(client), PROGRAMS / f"{program}.py", f"{gateway_url}/v1", samples, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def spoken(client):
    """The words in a sound file, or in PCM samples of a rate."""

    def words(sound, rate=None):
        if rate:
            file = io.BytesIO()
            soundfile.write(file, np.frombuffer(sound, "<i2"), rate, format="WAV")
            sound = file.getvalue()
        return plain(client.transcribe(sound).text)

    return words


def plain(text):
    return re.sub(r"[^\w ]", "", text.lower()).strip()


def is_red(png):
    """Whether a picture shows something red in its middle, by its pixels."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)
    reddest = (pixels[..., 0] - pixels[..., 1:].max(axis=-1)).max()
    return reddest > 60


def closest(vectors):
    """Of the vectors behind the first, the place of the one that it lies closest to."""
    first, *others = (np.ravel(vector) for vector in vectors)
    return int(np.argmax([first @ other for other in others]))


def test_each_client_of_ci_has_a_lock_and_a_row_in_the_docs():
    table = (Path(__file__).parent.parent.parent / "docs" / "clients.md").read_text("utf-8")
    assert [name for name in USUAL if f"| `{name}" not in table] == []


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_the_openai_package_on_every_endpoint(said, spoken, kind):
    told = said("openai_endpoints", "openai", kind)
    assert {"llava", "clip", "stable_diffusion", "whisper", "tts"} <= {model["id"] for model in told["models"]["data"]}
    [choice] = told["chat"]["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (ANSWER, "stop")
    assert "".join(token["token"] for token in choice["logprobs"]["content"]) == ANSWER
    *chunks, last = told["chat_stream"]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == ANSWER
    assert (last["choices"], last["usage"]) == ([], told["chat"]["usage"])
    assert json.loads(told["chat_schema"]["choices"][0]["message"]["content"]) == {"color": "red"}
    aloud = told["chat_aloud"]["choices"][0]["message"]["audio"]
    assert aloud["transcript"] == ANSWER
    assert spoken(base64.b64decode(aloud["data"])) == plain(ANSWER)
    assert told["responses"]["output"][0]["content"][0]["text"] == ANSWER
    circle, square, picture = told["vectors"]
    assert closest([picture, circle, square]) == 0
    assert is_red(base64.b64decode(told["image"]["data"][0]["b64_json"]))
    assert base64.b64decode(told["image_edit"]["data"][0]["b64_json"])[:4] == b"\x89PNG"
    assert plain(told["transcription"]["text"]) == plain(QUESTION)
    detailed = told["transcription_words"]
    assert plain(" ".join(word["word"] for word in detailed["words"])) == plain(QUESTION)
    assert all(-1 < segment["avg_logprob"] < 0 for segment in detailed["segments"])
    assert told["transcription_vtt"].startswith("WEBVTT")
    assert plain(told["transcription_stream"][-1]["text"]) == plain(QUESTION)
    assert spoken(base64.b64decode(told["speech"])) == plain(ANSWER)
    wrong = {name: (told[name]["status"], told[name]["body"]["param"]) for name in ("unknown_model", "two_choices")}
    assert wrong == {"unknown_model": (404, "model"), "two_choices": (400, "n")}
    assert told["far_picture"]["status"] == 400


def test_openai_agents_over_responses_and_over_chat(said):
    told = said("agents_run", "openai-agents")
    for api in ("responses", "chat"):
        assert told[api] == told[f"{api}_stream"]["final"] == "".join(told[f"{api}_stream"]["pieces"]) == ANSWER


def test_litellm(said, spoken):
    told = said("litellm_calls", "litellm")
    assert told["chat"] == "".join(told["chat_stream"]) == ANSWER
    assert len(told["vectors"]) == 2
    assert is_red(base64.b64decode(told["image"]))
    assert plain(told["transcription"]) == plain(QUESTION)
    assert spoken(base64.b64decode(told["speech"])) == plain(ANSWER)
    assert told["responses"]


def test_livekits_plugin_speaks_by_server_sent_events_hears_and_asks(said, spoken):
    told = said("livekit_voice", "livekit")
    assert spoken(base64.b64decode(told["speech"])) == plain(ANSWER)
    assert plain(told["transcription"]) == plain(QUESTION)
    assert told["chat"] == ANSWER


def test_pipecats_services_speak_hear_and_ask(said, spoken):
    told = said("pipecat_services", "pipecat")
    assert told["speech"]["rate"] == 24_000
    assert spoken(base64.b64decode(told["speech"]["pcm"]), 24_000) == plain(ANSWER)
    assert plain(told["transcription"]) == plain(QUESTION)
    assert told["chat"] == ANSWER


@pytest.mark.clients
def test_langchain(said):
    told = said("langchain_chat", "langchain")
    assert told["chat"] == "".join(told["chat_stream"]) == ANSWER
    assert told["structured"] == "red"
    assert len(told["vectors"]) == 2


@pytest.mark.clients
def test_llama_index(said):
    told = said("llama_index_chat", "llama-index")
    assert told["chat"] == "".join(told["chat_stream"]) == ANSWER


@pytest.mark.clients
def test_instructors_answer_has_the_shape_that_was_asked_for(said):
    assert said("instructor_schema", "instructor") == {"color": "red"}


@pytest.mark.clients
def test_the_npm_package(gateway_url, samples, spoken, tmp_path):
    for name in ("package.json", "package-lock.json", "openai_chat.mjs"):
        (tmp_path / name).write_bytes((PROGRAMS.parent / "npm" / name).read_bytes())
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=tmp_path, check=True, timeout=200)
    command = ["node", "openai_chat.mjs", f"{gateway_url}/v1", str(samples)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert "llava" in told["models"]
    assert told["chat"] == "".join(told["chat_stream"]) == ANSWER
    assert spoken(base64.b64decode(told["speech"])) == plain(ANSWER)
    assert plain(told["transcription"]) == plain(QUESTION)


@pytest.mark.clients
def test_schemathesis_finds_no_answer_that_the_api_does_not_describe(gateway_url):
    """Nonsense for every endpoint: none is answered by a failure of the server, or by what its description denies."""
    command = [
        install("schemathesis").with_name("schemathesis"),
        "run",
        f"{gateway_url}/openapi.json",
        "--url",
        gateway_url,
    ]
    checks = ["--checks", "not_a_server_error,content_type_conformance,response_schema_conformance"]
    limits = ["--max-examples", "20", "--seed", "1", "--request-timeout", "60"]
    done = subprocess.run([*command, *checks, *limits], capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout


@pytest.mark.clients
def test_open_responses_types_take_every_answer_and_event(said):
    told = said("openresponses_checks", "openresponses")
    streamed = told.pop("streamed")
    assert {answer["status"] for answer in told.values()} == {"completed"}
    assert all(answer["text"] for answer in told.values())
    assert told["picture"]["text"] == streamed["text"] == ANSWER
    assert streamed["kinds"][:2] == ["response.created", "response.in_progress"]
    assert "response.output_text.delta" in streamed["kinds"]
    assert (streamed["kinds"][-1], streamed["status"]) == ("response.completed", "completed")


@pytest.mark.clients
def test_aiperf_reports_every_request_as_answered(gateway_url, client, tmp_path):
    """The tokenizer is the checkpoint's own: any other would be fetched."""
    questions = ["What is this?", "你好。"]
    lines = [json.dumps({"text": question}, ensure_ascii=False) for question in questions]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines), "utf-8")
    options = {
        **{"model": "llava", "url": gateway_url, "endpoint-type": "chat", "tokenizer": checkpoints.path("llava")},
        **{"custom-dataset-type": "single_turn", "input-file": "questions.jsonl"},
        **{"dataset-sampling-strategy": "sequential", "request-count": 6, "concurrency": 2},
        **{"ui": "none", "artifact-dir": "told"},
    }
    command = [install("aiperf").with_name("aiperf"), "profile", "--streaming", "--use-server-token-count"]
    command += [f"--{name}={value}" for name, value in options.items()]
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}  # else no folder is taken
    done = subprocess.run(command, cwd=tmp_path, env=online, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    told = json.loads((tmp_path / "told" / "profile_export_aiperf.json").read_text("utf-8"))
    assert (told["request_count"]["avg"], told["error_summary"], told["was_cancelled"]) == (6, [], False)
    assert told["time_to_first_token"]["count"] == 6
    answers = [client.ask(question) for question in questions]
    assert told["total_usage_prompt_tokens"]["avg"] == 3 * sum(answer.prompt_tokens for answer in answers)
    assert told["total_usage_completion_tokens"]["avg"] == 3 * sum(answer.completion_tokens for answer in answers)
