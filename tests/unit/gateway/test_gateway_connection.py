"""What old callers and balancers send: HTTP/1.0, and HEAD."""

import json
import socket

import httpx
import pytest
from mock_tritone import CLAUSES
from typer.testing import CliRunner

from tritone_client import Client, InvalidInput
from tritone_client.cli import app
from tritone_client.transports.http_wire import OPENAI
from tritone_gateway.door.keys import KeyFile

ASKED = {"model": "llava", "messages": [{"role": "user", "content": "它是什么颜色？"}]}


def raw(gateway, request):
    """The head and the body of the answer to a request, as they came until the connection was closed."""
    with socket.create_connection(("127.0.0.1", httpx.URL(gateway.url).port), timeout=20) as caller:
        caller.sendall(request)
        whole = b"".join(iter(lambda: caller.recv(65536), b""))
    head, _, body = whole.partition(b"\r\n\r\n")
    return head.decode().lower(), body


def post(path, body, version="1.0"):
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", "Content-Type: application/json", "Connection: close"]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def test_http_1_0_gets_a_stream_without_chunks_that_ends_with_its_connection(gateway):
    head, body = raw(gateway, post("/v1/chat/completions", {**ASKED, "stream": True}))
    assert head.startswith("http/1.1 200")
    assert "transfer-encoding" not in head
    assert "content-length" not in head
    assert "connection: close" in head
    events = body.decode().split("\n\n")
    assert [event[:6] for event in events if event] == ["data: "] * (len(events) - 1)
    assert events[-2:] == ["data: [DONE]", ""]
    pieces = [json.loads(event[6:])["choices"][0]["delta"].get("content") or "" for event in events[:-2]]
    assert "".join(pieces) == "".join(CLAUSES)
    head, body = raw(gateway, post("/v1/chat/completions", {**ASKED, "stream": True}, "1.1"))
    assert "transfer-encoding: chunked" in head
    assert body.endswith(b"0\r\n\r\n")


def test_http_1_0_gets_sound_and_errors_as_they_are(gateway):
    wish = {"model": "tts", "voice": "alloy", "input": "你好。", "response_format": "wav"}
    head, body = raw(gateway, post("/v1/audio/speech", wish))
    assert "transfer-encoding" not in head
    assert body[:4] == b"RIFF"
    head, body = raw(gateway, post("/v1/audio/speech", {}))
    assert f"content-length: {len(body)}" in head
    assert json.loads(body)["error"]["param"] == "model"


@pytest.mark.parametrize("verb", [["ask", "它是什么？"], ["models"], ["models", "--wait"], ["listen", "-"]])
def test_a_client_of_triton_is_told_where_he_came_to(serve, tmp_path, verb):
    keys = KeyFile(tmp_path / "keys.json")
    keys.add("ann")
    for gateway in (serve(), serve(keys=keys.path)):
        run = CliRunner().invoke(app, [*verb, "--server", gateway.url], input="RIFF")
        assert (run.exit_code, run.stderr) == (2, f"tritone: {OPENAI}\n")
        assert gateway.transport.requests == []
    with Client(gateway.url) as client, pytest.raises(InvalidInput, match="name the Triton server behind it"):
        client.transcribe(b"RIFF")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_answer_head(gateway, path):
    answer = gateway.http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == gateway.http.get(path).headers["content-length"]
