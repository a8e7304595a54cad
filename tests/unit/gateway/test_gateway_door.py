"""What happens to every request: ids, sizes, errors, streams that die, callers who leave or read nothing."""

import asyncio
import contextlib
import inspect
import json
import logging
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from mock_tritone import answers, piece

from tritone_client import (
    InferenceFailed,
    InvalidInput,
    MockTransport,
    ModelNotReady,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_gateway.app import ENDPOINTS
from tritone_gateway.context import context
from tritone_gateway.door.keys import KeyFile

CHAT = {"model": "llava", "messages": [{"role": "user", "content": "What is this secret?"}]}
STREAM = {**CHAT, "stream": True}
PATIENCE_S = 10


def failing(error):
    def handler(request):
        raise error

    return handler


def until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_an_id_that_the_caller_gives_goes_to_triton_and_comes_back(gateway):
    answer = gateway.http.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "turn-7"})
    assert (answer.headers["x-request-id"], gateway.asked.request_id) == ("turn-7", "turn-7")


@pytest.mark.parametrize("given", ["a" * 200, "a b", "ä", "<script>"])
def test_an_id_that_is_no_id_is_replaced(gateway, given):
    headers = {"x-request-id": given.encode()}
    name = gateway.http.post("/v1/chat/completions", json=CHAT, headers=headers).headers["x-request-id"]
    assert re.fullmatch("req_[0-9a-f]{32}", name)
    assert gateway.asked.request_id == name


def test_errors_have_the_id_too(gateway):
    for answer in (gateway.http.get("/nothing"), gateway.http.post("/v1/embeddings", json={})):
        assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        (InvalidInput("max_tokens is 4096, must be 1 to 512"), openai.BadRequestError, 400, "invalid_value"),
        (NotServed("the model is for pipelines alone"), openai.BadRequestError, 400, "not_served"),
        (Overloaded("full", retry_after_s=1.25), openai.RateLimitError, 429, "server_overloaded"),
        (ModelNotReady("loading", retry_after_s=3), openai.InternalServerError, 503, "model_not_ready"),
        (ServerUnavailable("nobody answers"), openai.InternalServerError, 503, "server_unavailable"),
        (RequestTimedOut("no answer within 5 s"), openai.InternalServerError, 500, "timeout"),
        (InferenceFailed("a defect"), openai.InternalServerError, 500, "inference_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_server_have_their_status_also_before_a_stream(serve, error, kind, status, code, stream):
    with pytest.raises(kind, match=str(error)) as caught:
        serve(failing(error)).sdk.chat.completions.create(**CHAT, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_who_is_refused_hears_when_to_come_again(serve):
    answer = serve(failing(Overloaded("full", retry_after_s=1.25))).http.post("/v1/chat/completions", json=CHAT)
    assert (answer.headers["retry-after-ms"], answer.headers["retry-after"]) == ("1250", "2")
    assert "x-should-retry" not in answer.headers


def test_work_that_died_is_not_to_be_done_twice(serve):
    gateway = serve(failing(InferenceFailed("a defect")))
    with pytest.raises(openai.InternalServerError):
        gateway.sdk.with_options(max_retries=2).chat.completions.create(**CHAT)
    assert len(gateway.transport.requests) == 1


def test_the_sdk_comes_again_where_the_server_was_full(serve):
    gateway = serve(None)
    gateway.transport.handler = lambda request: (
        answers(request) if len(gateway.transport.requests) > 1 else failing(Overloaded("full", retry_after_s=0.01))(0)
    )
    assert gateway.sdk.with_options(max_retries=2).chat.completions.create(**CHAT).choices[0].message.content
    assert len(gateway.transport.requests) == 2


@pytest.mark.parametrize(
    ("sentence", "param"),
    [
        ("max_tokens is 4096, must be 1 to 512", "max_tokens"),
        ("'temperature' is -1", "temperature"),
        ("text_input holds 20000 characters, at most 16000 are read", "messages"),
        ("adapter 'x' is unknown", "model"),
        ("The picture is broken", None),
    ],
)
def test_the_field_that_the_server_speaks_of_is_named_as_the_caller_knows_it(serve, sentence, param):
    answer = serve(failing(InvalidInput(sentence))).http.post("/v1/chat/completions", json=CHAT)
    assert answer.json()["error"]["param"] == param


def test_a_defect_tells_nobody_the_users_words(serve, caplog):
    with caplog.at_level(logging.INFO):
        answer = serve(failing(RuntimeError("cannot read 'What is this secret?'"))).http.post(
            "/v1/chat/completions", json=CHAT
        )
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text + caplog.text
    assert f"request {answer.headers['x-request-id']}: RuntimeError at" in caplog.text


def test_an_error_in_the_middle_of_a_stream_is_an_event_and_raises(serve):
    def dying(request):
        yield piece("The circle ")
        raise InferenceFailed("the engine died")

    gateway = serve(dying)
    stream = gateway.sdk.chat.completions.create(**STREAM)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "The circle "]
    with pytest.raises(openai.APIError, match="the engine died"):
        next(stream)
    lines = gateway.http.post("/v1/chat/completions", json=STREAM).text.split("\n\n")
    assert lines[-2].startswith("event: error\ndata: ")
    assert json.loads(lines[-2].split("data: ")[1])["error"]["code"] == "inference_failed"
    assert "[DONE]" not in lines


def test_sound_that_breaks_off_is_no_whole_file(serve):
    def dying(request):
        yield answers(request)[0]
        raise InferenceFailed("the voice died")

    body = {"model": "tts", "voice": "alloy", "input": "Hello.", "response_format": "pcm"}
    with pytest.raises(httpx.RemoteProtocolError):
        serve(dying).http.post("/v1/audio/speech", json=body)


@pytest.mark.parametrize("body", [b"{", b'{"a": ' + b"[" * 5000, b"\xff\xfe", b"", b"[]", b'"text"'])
def test_a_body_that_is_no_json_is_400(gateway, body):
    answer = gateway.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_addresses_and_methods_that_do_not_exist_are_said_in_the_same_shape(gateway):
    answer = gateway.http.get("/v1/files")
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "there is no GET /v1/files")
    assert gateway.http.get("/v1/embeddings").status_code == 405


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(serve, announced):
    gateway = serve(max_json_bytes=1000)
    content = json.dumps({**CHAT, "user": "a" * 5000}).encode()
    parts = content if announced else iter([content[:600], content[600:]])
    answer = gateway.http.post("/v1/chat/completions", content=parts, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")
    assert "the limit is 1000" in answer.json()["error"]["message"]
    assert gateway.transport.requests == []


def test_an_upload_has_a_limit_of_its_own(serve):
    gateway = serve(max_json_bytes=10, max_upload_bytes=2000)
    codes = [
        gateway.http.post(
            "/v1/audio/transcriptions", files={"model": (None, "whisper"), "file": ("a.wav", b"a" * size)}
        ).status_code
        for size in (100, 5000)
    ]
    assert codes == [200, 413]


def test_a_caller_who_leaves_a_stream_stops_the_work(serve, slow):
    gateway = serve(transport=slow)
    with gateway.http.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
        assert "assistant" in next(answer.iter_text())
    assert slow.left.wait(PATIENCE_S)
    page = lambda: gateway.http.get("/metrics").text  # noqa: E731
    left = 'tritone_gateway_callers_left_total{endpoint="/v1/chat/completions"} 1.0'
    until(lambda: left in page(), "the caller who left is counted")
    until(lambda: "tritone_gateway_in_flight 1.0" in page(), "only the page itself is in flight")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", CHAT),
        ("embeddings", {"model": "clip", "input": "a"}),
        ("images/generations", {"prompt": "a"}),
        ("responses", {"model": "llava", "input": "a"}),
    ],
)
def test_a_caller_who_leaves_before_the_answer_stops_the_work(serve, slow, path, body):
    gateway = serve(transport=slow)
    with pytest.raises(httpx.ReadTimeout):
        gateway.http.post(f"/v1/{path}", json=body, timeout=0.3)
    assert slow.left.wait(PATIENCE_S)


def test_a_caller_who_reads_nothing_is_cut_off(serve):
    def endless(request):
        while True:
            yield piece("a" * 60_000)

    class Endless(MockTransport):
        ended = False

        async def astream(self, request):
            try:
                async for part in super().astream(request):
                    yield part
                    await asyncio.sleep(0)
            finally:
                self.ended = True

    transport = Endless(endless)
    gateway = serve(transport=transport, stuck_after_s=0.5)
    body = json.dumps(STREAM).encode()
    address = ("127.0.0.1", httpx.URL(gateway.url).port)
    with socket.create_connection(address) as caller:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: transport.ended, "the work for a caller who reads nothing ends")


def test_a_caller_who_never_finishes_his_request_is_cut_off(serve):
    gateway = serve(receive_within_s=0.3)
    with socket.create_connection(("127.0.0.1", httpx.URL(gateway.url).port)) as caller:
        caller.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
        caller.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionResetError):
            assert caller.recv(1) == b""


def test_a_long_silence_has_comments_in_it(serve, slow):
    gateway = serve(transport=slow, keep_alive_s=0.05)
    with gateway.http.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": keep-alive"
        slow.go_on.set()
        assert [line for line in lines if line.startswith("data")][-1] == "data: [DONE]"


def test_readiness_is_the_servers(serve):
    gateway = serve()
    assert gateway.http.get("/ready").status_code == 200
    gateway.transport.ready = False
    assert gateway.http.get("/ready").status_code == 503
    assert gateway.http.get("/health").status_code == 200


def test_models_are_ours_and_can_be_looked_up(gateway):
    names = {model.id for model in gateway.sdk.models.list()}
    assert names == {"llava", "llava:zh", "llava:charts", "clip", "stable_diffusion", "whisper", "tts", "aligner"}
    assert gateway.sdk.models.retrieve("llava:zh").id == "llava:zh"
    assert gateway.sdk.models.retrieve("llava").owned_by == "tritone"
    with pytest.raises(openai.NotFoundError):
        gateway.sdk.models.retrieve("sd_unet")


def test_a_server_without_the_model_that_tells_is_asked_which_models_are_ready(serve):
    def untold(request):
        if request.model == "catalog":
            raise ModelNotReady("Request for unknown model: 'catalog' is not found")
        return answers(request)

    gateway = serve(untold)
    gateway.transport.ready = True
    assert [model.id for model in gateway.sdk.models.list()] == [
        *("llava", "clip", "stable_diffusion", "whisper", "tts", "aligner")
    ]
    assert gateway.http.get("/v1/audio/voices").status_code == 200


def test_requests_are_counted_by_declared_addresses_alone(gateway):
    gateway.http.get("/v1/made-up-by-somebody")
    gateway.http.post("/v1/chat/completions", json=CHAT)
    counted = {
        'tritone_gateway_requests_total{endpoint="/v1/chat/completions",status="200"}',
        'tritone_gateway_requests_total{endpoint="other",status="404"}',
    }
    # An answer is counted when it has been sent.
    until(lambda: all(line in gateway.http.get("/metrics").text for line in counted), "they are counted")
    page = gateway.http.get("/metrics").text
    assert "made-up" not in page
    assert 'tritone_gateway_tokens_total{direction="written"}' in page


def test_a_trace_goes_on_and_a_caller_without_his_name(serve, tmp_path):
    secret = KeyFile(tmp_path / "keys.json").add("ann@example.org")
    gateway = serve(keys=tmp_path / "keys.json")
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    headers = {"Authorization": f"Bearer {secret}", "traceparent": parent, "tracestate": "a=1"}
    gateway.http.post("/v1/chat/completions", json=CHAT, headers=headers)
    sent = dict(gateway.asked.metadata)
    assert (sent["traceparent"], sent["tracestate"]) == (parent, "a=1")
    assert re.fullmatch("[0-9a-f]{16}", sent["x-tritone-user"])
    gateway.http.post("/v1/chat/completions", json=CHAT, headers={**headers, "traceparent": "made up"})
    assert "traceparent" not in dict(gateway.asked.metadata)


def test_no_request_waits_for_a_thread():
    """FastAPI runs what is no coroutine on one."""
    routes = [route for endpoint in ENDPOINTS for route in endpoint.router.routes]
    asked = [
        call for route in routes for call in (route.endpoint, *(each.call for each in route.dependant.dependencies))
    ]
    assert context in asked
    assert [call.__qualname__ for call in asked if not inspect.iscoroutinefunction(call)] == []


def test_bodies_that_do_not_fit_into_memory_together_are_refused_for_now(serve, slow):
    gateway = serve(transport=slow, max_held_bytes=6000)
    large = {**CHAT, "user": "a" * 4000}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.http.post, "/v1/chat/completions", json=large)
        assert slow.busy.wait(PATIENCE_S)
        second = httpx.post(f"{gateway.url}/v1/chat/completions", json=large)
        assert (second.status_code, second.json()["error"]["code"]) == (429, "gateway_overloaded")
        assert int(second.headers["retry-after-ms"]) > 0
        slow.go_on.set()
        assert first.result().status_code == 200
    ask = lambda: gateway.http.post("/v1/chat/completions", json=large).status_code  # noqa: E731
    until(lambda: ask() == 200, "the memory is given back, which is soon after the answer")


def test_two_hundred_streams_at_once_are_all_whole(serve, slow):
    gateway = serve(transport=slow)

    async def crowd():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as sdk:
            streams = await asyncio.gather(*(sdk.chat.completions.create(**STREAM) for _ in range(200)))
            slow.go_on.set()
            return await asyncio.gather(*(whole(stream) for stream in streams))

    async def whole(stream):
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(crowd()) == ["The circle is red."] * 200
    until(lambda: "tritone_gateway_in_flight 1.0" in gateway.http.get("/metrics").text, "nothing is left behind")


def test_the_api_describes_its_errors_and_what_it_sends(gateway):
    paths = gateway.http.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for described in methods.values():
            assert {"4XX", "5XX"} <= described["responses"].keys(), path
            assert "422" not in described["responses"], path
    assert "audio/mpeg" in paths["/v1/audio/speech"]["post"]["responses"]["200"]["content"]
    assert "text/event-stream" in paths["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
