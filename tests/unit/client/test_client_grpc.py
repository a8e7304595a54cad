"""The gRPC transport against a real gRPC server that speaks Triton's protocol and misbehaves on demand."""

import socket
from concurrent import futures

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc
from unit.client.conftest import PATIENCE_S, Triton

from tritone_client import (
    Cancelled,
    Client,
    InvalidInput,
    RequestTimedOut,
    ServerUnavailable,
)


def test_a_request_arrives_as_triton_reads_it_and_its_answer_comes_back(client, triton):
    assert client.ask("你好", b"png", seed=7, request_id="number 1").text == "你好"
    request = triton.requests[0]
    assert (request.model_name, request.id) == ("llava_answer", "number 1")
    assert [(i.name, i.datatype, list(i.shape)) for i in request.inputs] == [
        ("text_input", "BYTES", [1, 1]),
        ("image_bytes", "BYTES", [1, 1]),
        ("seed", "INT64", [1, 1]),
    ]
    assert list(request.raw_input_contents) == [
        b"\x06\0\0\0" + "你好".encode(),
        b"\x03\0\0\0png",
        np.int64(7).tobytes(),
    ]
    tokens = [f"{what}_tokens" for what in ("prompt", "image", "completion")]
    assert [o.name for o in request.outputs] == ["text_output", "finish_reason", *tokens, "logprobs_content"]


def test_a_message_of_many_megabytes_goes_through(client):
    text = "x" * (20 << 20)  # gRPC's own default limit is 4 MiB
    assert client.ask(text).text == text


def test_streams_do_not_ask_for_triton_grpc_error(client, triton):
    """A few dozen failing streams at once in that mode kill server 2.51."""
    list(client.ask_stream("go on"))
    assert "triton_grpc_error" not in triton.metadata[0]
    assert triton.requests[0].parameters["status"].bool_param


def test_a_request_carries_its_time_out(client, triton):
    """Models do not see gRPC's deadline; they need to know for how long somebody waits."""
    client.ask("Hello", timeout_s=2.5)
    list(client.ask_stream("Hello", timeout_s=0.75))
    client.ask("Hello", timeout_s=1e9)
    sent = [request.parameters["timeout"].int64_param for request in triton.requests]
    assert sent == [2_500_000, 750_000, 10**15]


def test_connection_refused_is_not_a_timeout(closed_port):
    with Client(f"127.0.0.1:{closed_port}", timeout_s=PATIENCE_S) as client:
        with pytest.raises(ServerUnavailable, match=f"no answer from 127.0.0.1:{closed_port}: .*refused"):
            client.ask("Hello")
        with pytest.raises(ServerUnavailable):
            next(client.ask_stream("Hello"))
        assert not client.is_ready()


def test_a_name_that_does_not_exist_is_not_a_timeout():
    with Client("no-such-host.invalid:8001", timeout_s=PATIENCE_S) as client, pytest.raises(ServerUnavailable):
        client.ask("Hello")


def test_a_server_that_goes_away_is_unavailable(client, triton):
    with futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, "wait")
        assert triton.busy.wait(PATIENCE_S)
        triton.server.stop(0)
        with pytest.raises(ServerUnavailable):
            asked.result(PATIENCE_S)


def test_no_answer_in_time_is_a_timeout_and_the_server_learns_of_it(client, triton):
    with pytest.raises(RequestTimedOut, match=r"within 0\.2 s"):
        client.ask("wait", timeout_s=0.2)
    assert triton.left.wait(PATIENCE_S)


def test_a_stream_yields_while_it_runs_and_its_deadline_holds(client, triton):
    chunks = client.ask_stream("wait", timeout_s=0.5)
    assert next(chunks).text == "one "
    with pytest.raises(RequestTimedOut):
        next(chunks)


def test_a_stream_ends_with_its_last_piece(client, triton):
    chunks = list(client.ask_stream("go on"))
    assert [(chunk.text, chunk.finish_reason) for chunk in chunks] == [("one ", None), ("two", "stop")]


def test_closing_a_stream_cancels_the_request_on_the_server(client, triton):
    chunks = client.ask_stream("wait")
    next(chunks)
    assert triton.busy.wait(PATIENCE_S)
    assert not triton.left.is_set()
    chunks.close()
    assert triton.left.wait(PATIENCE_S)


def test_closing_the_client_cancels_what_is_under_way(client, triton):
    with futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, "wait")
        assert triton.busy.wait(PATIENCE_S)
        client.close()
        with pytest.raises(Cancelled):
            asked.result(PATIENCE_S)
    with pytest.raises(Cancelled, match="the client is closed"):
        client.ask("Hello")


def test_many_threads_and_streams_share_one_client(client):
    with futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda n: client.ask(str(n)).text, range(40))
        streams = pool.map(lambda n: [c.text for c in client.ask_stream(str(n))], range(40))
        assert list(answers) == [str(n) for n in range(40)]
        assert list(streams) == [["one ", "two"]] * 40


def test_readiness_is_asked_of_the_server_and_of_its_models(client, triton):
    assert client.is_ready()
    assert client.is_ready("llava")
    assert not client.is_ready("whisper")
    triton.ready = False
    assert not client.is_ready()


def test_waiting_outlives_a_server_that_is_not_there_yet():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{held.getsockname()[1]}"
    with Client(url) as client, futures.ThreadPoolExecutor(1) as pool:
        assert not client.is_ready()
        waiting = pool.submit(client.wait_until_ready, PATIENCE_S)
        server = grpc.server(futures.ThreadPoolExecutor(1))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Triton(), server)
        assert server.add_insecure_port(url)
        server.start()
        waiting.result(PATIENCE_S)
        server.stop(0).wait(PATIENCE_S)


def test_a_url_with_a_scheme_is_refused_with_an_example():
    with pytest.raises(InvalidInput, match="localhost:8001"):
        Client("http://localhost:8000")
