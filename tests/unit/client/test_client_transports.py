"""Both clients, over gRPC and HTTP, against real servers that speak Triton's protocol and misbehave on demand."""

import socket
from concurrent import futures

import numpy as np
import pytest
from fake_triton import PATIENCE_S

from tritone_client import (
    Cancelled,
    RequestTimedOut,
    ServerUnavailable,
)


def test_a_request_arrives_as_triton_reads_it_and_its_answer_comes_back(connect, grpc_triton):
    client = connect(grpc_triton.url)
    assert client.ask("你好", b"png", seed=7, request_id="number 1").text == "你好"
    request = grpc_triton.requests[0]
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


def test_streams_do_not_ask_for_triton_grpc_error(connect, grpc_triton):
    """A few dozen failing streams at once in that mode kill server 2.51."""
    list(connect(grpc_triton.url).ask_stream("go on"))
    assert "triton_grpc_error" not in grpc_triton.metadata[0]
    assert grpc_triton.requests[0].parameters["status"].bool_param


def test_a_request_carries_its_time_out(client, triton):
    """Models do not see gRPC's deadline; they need to know for how long somebody waits."""
    client.ask("Hello", timeout_s=2.5)
    list(client.ask_stream("Hello", timeout_s=0.75))
    client.ask("Hello", timeout_s=1e9)
    assert triton.timeouts == [2_500_000, 750_000, 10**15]


def test_the_servers_own_answer_comes_before_grpcs_deadline(connect, grpc_triton):
    """A call with one answer that ends by its deadline just as it is answered kills server 2.51."""
    connect(grpc_triton.url).ask("Hello", timeout_s=30)
    assert grpc_triton.timeouts == [30_000_000]
    assert 30.2 < grpc_triton.deadlines[0] < 31


def test_connection_refused_is_not_a_timeout(connect, closed_port, scheme):
    with connect(f"{scheme}://127.0.0.1:{closed_port}", timeout_s=PATIENCE_S, retries=0) as client:
        said = f"no answer from .*127.0.0.1:{closed_port}: .*(refused|attempts failed)"
        with pytest.raises(ServerUnavailable, match=said):
            client.ask("Hello")
        with pytest.raises(ServerUnavailable):
            next(client.ask_stream("Hello"))
        assert not client.is_ready()


def test_a_name_that_does_not_exist_is_not_a_timeout(connect):
    with (
        connect("no-such-host.invalid:8001", timeout_s=PATIENCE_S, retries=0) as client,
        pytest.raises(ServerUnavailable),
    ):
        client.ask("Hello")


def test_a_server_that_goes_away_is_unavailable(client, triton, serving):
    with futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, "wait")
        assert triton.busy.wait(PATIENCE_S)
        serving.stop(triton)
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


def test_the_models_that_are_ready_are_told_with_their_tensors(client):
    [model] = client.models()
    assert (model.name, model.streams) == ("llava", True)
    assert model.inputs[:2] == ("text_input", "image_bytes")
    assert "finish_reason" in model.outputs


def test_waiting_outlives_a_server_that_is_not_there_yet(connect, serving, scheme):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with connect(f"{scheme}://127.0.0.1:{port}") as client, futures.ThreadPoolExecutor(1) as pool:
        assert not client.is_ready()
        waiting = pool.submit(client.wait_until_ready, PATIENCE_S)
        serving(port=port)
        waiting.result(PATIENCE_S)
