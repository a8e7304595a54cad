"""What a hostile newcomer sent: each is told so in OpenAI's shape, and costs nothing more."""

import base64

import openai
import pytest
from mock_tritone import answers
from typer.testing import CliRunner

from tritone_client import InvalidInput
from tritone_gateway.cli import app
from tritone_gateway.door.keys import KeyFile
from tritone_gateway.settings import Limits

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
HALF = b'"\\ud800"'  # half a character, as JSON may hold it


@pytest.mark.parametrize("content", [EPS, b"text"])
def test_a_picture_of_a_strange_format_starts_no_program_and_tells_no_address(gateway, content, tmp_path, monkeypatch):
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(openai.BadRequestError, match="image is no picture that can be read; PNG, JPEG,") as refused:
        gateway.sdk.images.edit(model="stable_diffusion", image=("a.eps", content), prompt="x")
    assert refused.value.param == "image"
    assert not (tmp_path / "ran").exists()


def test_metadata_of_a_response_is_told_again_as_far_as_it_is_text(gateway):
    body = {"model": "llava", "input": "Hello.", "metadata": {"a": 1, "b": None, "c": {"d": 1}, "名": "值"}}
    answer = gateway.http.post("/v1/responses", json=body)
    assert (answer.status_code, answer.json()["metadata"]) == (200, {"名": "值"})


def test_a_schema_that_is_missing_is_named_before_anything_is_computed(gateway):
    before = len(gateway.transport.requests)
    wanted = {"format": {"type": "json_schema", "name": "x"}}
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.sdk.responses.create(model="llava", input="Hello.", text=wanted)
    assert refused.value.param == "text.format"
    assert len(gateway.transport.requests) == before


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("chat/completions", b'{"model": ?, "messages": [{"role": "user", "content": "x"}]}'),
        ("embeddings", b'{"model": ?, "input": "x"}'),
        ("images/generations", b'{"prompt": "x", "size": ?}'),
        ("responses", b'{"model": "llava", "input": [{"type": ?}]}'),
    ],
)
def test_half_a_character_in_what_an_error_quotes_is_an_error_of_the_caller(gateway, address, body):
    headers = {"content-type": "application/json"}
    answer = gateway.http.post(f"/v1/{address}", content=body.replace(b"?", HALF), headers=headers)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["message"]


def test_sounds_of_one_question_are_heard_one_after_another_and_none_after_one_that_fails(serve):
    def deaf(request):
        if request.model == "transcribe" and len(heard.requests) > 1:
            raise InvalidInput("audio_bytes is no sound")
        return answers(request)

    gateway = serve(deaf)
    heard = gateway.transport
    sound = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
    content = [*[sound] * 5, {"type": "text", "text": "?"}]
    with pytest.raises(openai.BadRequestError):
        gateway.sdk.chat.completions.create(model="llava", messages=[{"role": "user", "content": content}])
    assert [request.model for request in heard.requests] == ["transcribe", "transcribe"]


def test_what_is_missing_is_named_where_it_is_missing(gateway):
    def error(address, **body):
        return gateway.http.post(f"/v1/{address}", json=body).json()["error"]

    assert error("rank", documents=["x"])["message"] == "'query' is missing"
    assert error("rank", query=5, documents=["x"])["param"] == "query"
    assert error("chat/completions", model="llava", messages=[{}])["message"] == "'messages.0.role' is missing"
    forgotten = gateway.http.post("/v1/rank", content=b'{"query": "x"}', headers={"content-type": "text/plain"})
    assert "content type application/json" in forgotten.json()["error"]["message"]


def test_a_key_with_one_limit_of_its_own_has_the_gateways_others(serve, tmp_path):
    file = KeyFile(tmp_path / "keys.json")
    secret = file.add("own", Limits(requests=50))
    gateway = serve(keys=file.path, limits=Limits(tokens=1))
    sdk = gateway.sdk.with_options(api_key=secret)
    ask = {"model": "llava", "messages": [{"role": "user", "content": "x"}]}
    assert sdk.chat.completions.create(**ask).choices
    with pytest.raises(openai.RateLimitError, match="limit of 1 tokens a minute"):
        sdk.chat.completions.create(**ask)


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["--port", "99999"], {}, "port is 99999"),
        (["--port", "0", "--server", "ftp://x"], {}, "ftp"),
        ([], {"TRITONE_GATEWAY_TIMEOUT_S": "abc"}, "timeout_s is 'abc'"),
        ([], {"TRITONE_GATEWAY_CORS": "http://a"}, "cors"),
    ],
)
def test_settings_that_are_none_are_a_sentence(words, environment, said):
    run = CliRunner().invoke(app, words, env=environment)
    assert (run.exit_code, run.stderr.startswith("tritone gateway: "), said in run.stderr) == (2, True, True), (
        run.stderr
    )


@pytest.mark.parametrize("body", [{"size": "0x0"}, {"size": "0x8"}, {"quality": "x", "num_inference_steps": 3}])
def test_a_picture_of_no_size_or_of_a_strange_quality_is_refused(gateway, body):
    answer = gateway.http.post("/v1/images/generations", json={"prompt": "x", **body})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(body)))


def test_base64_may_have_line_breaks(gateway):
    gif = "R0lGODlhAQABAAAAACw="
    body = {"model": "clip", "input": f"data:image/gif;base64,{gif[:8]}\n{gif[8:]}\r\n"}
    assert gateway.http.post("/v1/embeddings", json=body).status_code == 200
