"""What is HTTP's own: Triton's JSON and binary tensors, server-sent events, proxies before the server."""

import base64
import io
import json
import ssl

import fake_triton_http
import numpy as np
import pytest
from fake_triton import PATIENCE_S
from fake_triton_http import HttpTriton
from PIL import Image
from unit.client.test_client_verbs import WAV

from tritone_client import (
    Error,
    InferenceFailed,
    InvalidInput,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_client.calls import images, speech
from tritone_client.calls.call import Request
from tritone_client.transports.http_wire import EventReader, read_event, read_failure, read_infer

SENDING = {"timeout_s": 2.5, "request_id": "number 1"}


@pytest.fixture
def http_triton():
    service = fake_triton_http.start(HttpTriton())
    yield service
    fake_triton_http.stop(service)


def test_a_unary_request_is_a_header_and_the_tensors_as_they_are(connect, http_triton):
    client = connect(http_triton.url)
    assert client.ask("你好", b"\x89PNG", seed=7, request_id="number 1", timeout_s=2.5).text == "你好"
    [header] = http_triton.requests
    assert (header["id"], header["parameters"]) == ("number 1", {"timeout": 2_500_000})
    assert [(i["name"], i["datatype"], i["shape"]) for i in header["inputs"]] == [
        ("text_input", "BYTES", [1, 1]),
        ("image_bytes", "BYTES", [1, 1]),
        ("seed", "INT64", [1, 1]),
    ]
    assert http_triton.tensors[0] == [
        b"\x06\0\0\0" + "你好".encode(),
        b"\x04\0\0\0\x89PNG",
        np.int64(7).tobytes(),
    ]
    assert all(output["parameters"] == {"binary_data": True} for output in header["outputs"])


def test_a_stream_is_asked_for_in_json_with_files_as_base64(connect, http_triton):
    list(connect(http_triton.url).ask_stream("你好", b"\x89PNG", stop=["。", "!"], **SENDING))
    assert http_triton.requests[0] == {
        "id": "number 1",
        "text_input": "你好",
        "image_bytes": [str(base64.b64encode(b"\x89PNG"), "ascii")],
        "stop": ["。", "!"],
        "parameters": {"status": True, "binary": "base64", "timeout": 2_500_000},
    }


def test_connections_are_used_again(connect, http_triton):
    client = connect(http_triton.url)
    for _ in range(5):
        client.ask("Hello")
        list(client.ask_stream("Hello"))
    assert len(http_triton.connections) == 1


def test_a_line_that_only_unicode_ends_is_no_end_of_an_event():
    reader = EventReader()
    written = 'data: {"text": "one\u2028two\x85"}\n\ndata: {"a": 1}\r\n\r\n'.encode()
    written += b": a comment\ndata:{\ndata: }\n\nevent: x\n\n"
    events = [event for byte in written for event in reader.feed(bytes([byte]))]
    assert [json.loads(event) for event in events] == [{"text": "one\u2028two\x85"}, {"a": 1}, {}]


def event_of(call, content):
    return call.parse(read_event(call.request, json.dumps(content)))


def test_speech_without_samples_is_read_from_its_file():
    call = speech.speak_stream("Hi.", SENDING)
    words = {"word": "Hi.", "word_start": 0.25, "word_end": 0.5}  # a list of one comes without its brackets
    file = {"audio_wav": str(base64.b64encode(WAV), "ascii"), "audio_bytes": "", "sampling_rate": 22_050}
    chunk = event_of(call, {"index": 0, "text": "Hi.", "voice": "joe", "note": "", **words, **file})
    assert (chunk.text, chunk.speech.sampling_rate, chunk.speech.wav) == ("Hi.", 22_050, WAV)
    assert chunk.speech.audio.tolist() == [0.0, 0.5, -0.5, 0.25]
    assert [(word.text, word.start, word.end) for word in chunk.speech.words] == [("Hi.", 0.25, 0.5)]


def test_pictures_without_pixels_are_read_from_their_files():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), np.uint8)
    files = []
    for picture in pixels:
        Image.fromarray(picture).save(buffer := io.BytesIO(), "PNG")
        files.append(str(base64.b64encode(buffer.getvalue()), "ascii"))
    call = images.generate_image_stream("red", None, SENDING)
    answer = {"image": pixels.ravel().tolist(), "image_png": files, "seed": [7, 8], "prompt_tokens": 5}
    made = event_of(call, {**answer, "truncated_text": ""})
    assert [image.seed for image in made.images] == [7, 8]
    assert all(np.array_equal(image.pixels, picture) for image, picture in zip(made.images, pixels, strict=True))


REQUEST = Request("llava", {}, (), "number 2", 1.0)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"outputs": [{"name": "text"}]}'])
def test_an_answer_that_is_none_of_tritons_cannot_be_read(body):
    with pytest.raises(InferenceFailed, match="the answer of 'llava' cannot be read") as caught:
        read_infer(REQUEST, {}, body)
    assert caught.value.request_id == "number 2"


@pytest.mark.parametrize("data", ["<html>", "[1]", '"words"', '{"prompt_tokens": "many"}', '{"text_output": "a"'])
def test_an_event_that_is_none_of_tritons_cannot_be_read(data):
    with pytest.raises(InferenceFailed, match="the answer of 'llava' cannot be read"):
        read_event(REQUEST, data)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (502, b"<html>Bad Gateway</html>", ServerUnavailable, "HTTP 502"),
        (503, b"", ServerUnavailable, "HTTP 503"),
        (504, b"", RequestTimedOut, "HTTP 504"),
        (429, b"slow down", Overloaded, "HTTP 429"),
        (401, b"", NotServed, "HTTP 401"),
        (403, b'{"error":"This API is restricted, expecting header \'x\'"}', NotServed, "This API is restricted"),
        (400, b'data: {"error":"INVALID_ARG: max_tokens is 0"}\n\n', InvalidInput, "max_tokens is 0"),
        (500, b'{"error":"UNAVAILABLE: the model is full; try again in 1.5 s"}', Overloaded, "the model is full"),
    ],
)
def test_what_stands_before_the_server_is_understood_too(status, body, kind, said):
    error = read_failure(status, body, "llava", "number 2")
    assert type(error) is kind
    assert str(error).startswith(said)
    assert getattr(error, "retry_after_s", None) == (1.5 if status == 500 else None)


@pytest.mark.parametrize(("sentence", "seconds"), [("full", 7.0), ("full; try again in 1.5 s", 1.5)])
def test_a_proxy_may_say_when_to_try_again_where_the_server_does_not(connect, http_triton, sentence, seconds):
    http_triton.retry_after = "7"
    with pytest.raises(Overloaded) as caught:
        connect(http_triton.url, retries=0).ask(f"UNAVAILABLE: {sentence}")
    assert caught.value.retry_after_s == seconds


def test_https_shows_and_checks_certificates(connect, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    service = fake_triton_http.start(HttpTriton(), context)
    shown = {"certificate": certificates / "client.pem", "key": certificates / "client.key", "retries": 0}
    client = connect(service.url, timeout_s=PATIENCE_S, ca=certificates / "ca.pem", **shown)
    assert client.ask("你好").text == "你好"
    with pytest.raises(Error) as caught:
        connect(service.url, timeout_s=PATIENCE_S, ca=certificates / "other.pem", **shown).ask("Hello")
    assert isinstance(caught.value, ServerUnavailable)
    assert len(service.requests) == 1
    fake_triton_http.stop(service)
