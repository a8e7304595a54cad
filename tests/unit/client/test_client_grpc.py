"""The gRPC transport against a real gRPC server that speaks Triton's protocol and misbehaves on demand."""

import re
import socket
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

import tritone_client
from tritone_client import (
    Cancelled,
    Client,
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_client._transport import map_bare_error, map_error

PATIENCE_S = 10  # bound on every wait; nothing here takes a tenth of it
STATUS = {code.name: code for code in grpc.StatusCode}
TRITON = {"INVALID_ARGUMENT": "INVALID_ARG", "UNIMPLEMENTED": "UNSUPPORTED"}  # where Triton's names differ from gRPC's


def answer(text: str, reason: str, request_id: str = ""):
    """A response of `llava_answer`, written as Triton writes it."""
    response = service_pb2.ModelInferResponse(model_name="llava_answer", id=request_id)
    for name, value in (("text_output", text), ("finish_reason", reason)):
        response.outputs.add(name=name, datatype="BYTES", shape=[1, 1])
        response.raw_output_contents.append(serialize_byte_tensor(np.array([value.encode()], object)).item())
    for name, number in (("prompt_tokens", 5), ("completion_tokens", 2)):
        response.outputs.add(name=name, datatype="INT32", shape=[1, 1])
        response.raw_output_contents.append(np.int32(number).tobytes())
    return response


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Does what the question says: "INTERNAL: sentence" fails so, "wait" waits for the caller to leave.

    Inside a stream an error has no status. A model of ours writes it in front of its sentence if the request says so.
    """

    def __init__(self) -> None:
        self.requests = []
        self.metadata = []
        self.busy = threading.Event()
        self.left = threading.Event()
        self.ready = True
        self.codes = True  # whether its models put the status in front of their errors

    def _hear(self, request, context):
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        context.add_callback(self.left.set)
        order = request.raw_input_contents[0][4:].decode()
        if order == "wait":
            self.busy.set()
            self.left.wait(PATIENCE_S)
        return order

    def ModelInfer(self, request, context):  # noqa: N802 - the protocol's names
        order = self._hear(request, context)
        code, _, sentence = order.partition(": ")
        if code in STATUS:
            context.abort(STATUS[code], sentence)
        return answer(order, "stop", request.id)

    def ModelStreamInfer(self, requests, context):  # noqa: N802
        request = next(requests)
        yield service_pb2.ModelStreamInferResponse(infer_response=answer("one ", ""))
        order, _, sentence = self._hear(request, context).partition(": ")
        if order in STATUS:
            coded = request.parameters["status"].bool_param and self.codes
            text = f"{TRITON.get(order, order)}: {sentence}" if coded else sentence
            yield service_pb2.ModelStreamInferResponse(error_message=text)
            return
        if order == "the call":
            context.abort(grpc.StatusCode.UNAVAILABLE, sentence)
        yield service_pb2.ModelStreamInferResponse(infer_response=answer("two", "stop"))
        yield service_pb2.ModelStreamInferResponse()  # the final flag of a decoupled model comes empty

    def ServerReady(self, request, context):  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=self.ready)

    def ModelReady(self, request, context):  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name == "llava")


@pytest.fixture
def triton():
    service = Triton()
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", -1)])  # as Triton
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    service.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    service.server = server
    server.start()
    yield service
    service.left.set()
    server.stop(0).wait(PATIENCE_S)


@pytest.fixture
def client(triton):
    with Client(triton.url, timeout_s=PATIENCE_S) as client:
        yield client


@pytest.fixture
def closed_port():
    with socket.socket() as held:  # bound but not listening: nobody else gets it, and it refuses
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


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
    assert [o.name for o in request.outputs] == ["text_output", "finish_reason", "prompt_tokens", "completion_tokens"]


def test_a_message_of_many_megabytes_goes_through(client):
    text = "x" * (20 << 20)  # gRPC's own default limit is 4 MiB
    assert client.ask(text).text == text


@pytest.mark.parametrize(
    ("status", "sentence", "kind"),
    [
        ("INVALID_ARGUMENT", "max_tokens is 0, must be 1 to 512", InvalidInput),
        ("NOT_FOUND", "Request for unknown model: 'llava_answer' is not found", ModelNotReady),
        ("UNAVAILABLE", "'llava_answer' version 1 is not at ready state", ModelNotReady),
        ("INTERNAL", "Stub process 'llava_answer_0_0' is not healthy.", ModelNotReady),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new requests", ModelNotReady),
        ("UNAVAILABLE", "model 'llava' has 64 requests in flight, its limit; try again in 1.5 s", Overloaded),
        ("UNAVAILABLE", "Exceeds maximum queue size", Overloaded),
        ("UNAVAILABLE", "Request timeout expired", Overloaded),
        ("UNAVAILABLE", "no healthy upstream", ServerUnavailable),
        ("UNAVAILABLE", "This protocol is restricted, expecting header 'triton-grpc-protocol-key'", NotServed),
        ("UNIMPLEMENTED", "this checkpoint speaks English only", NotServed),
        ("INTERNAL", "model 'llava' failed (ValueError); the server's log says where", InferenceFailed),
        ("CANCELLED", "the request was cancelled", Cancelled),
    ],
)
def test_the_servers_status_becomes_our_error_with_its_sentence(client, status, sentence, kind):
    for ask in (lambda **k: client.ask(**k), lambda **k: list(client.ask_stream(**k))):
        with pytest.raises(Error) as caught:
            ask(question=f"{status}: {sentence}", request_id="number 2")
        assert type(caught.value) is kind
        assert str(caught.value).removeprefix(f"no answer from {client.url}: ") == sentence
        assert caught.value.request_id == "number 2"
        assert caught.value.model in ("llava", "llava_answer")


@pytest.mark.parametrize(
    ("status", "sentence", "kind"),
    [
        ("RESOURCE_EXHAUSTED", "too many requests", Overloaded),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (9 vs. 4)", InvalidInput),
        # The sentence of an error was longer than gRPC's headers may be: what went wrong is not known.
        ("RESOURCE_EXHAUSTED", "received metadata size exceeds hard limit (20000 vs. 16384)", InferenceFailed),
        ("PERMISSION_DENIED", "closed", NotServed),
    ],
)
def test_grpcs_own_status_becomes_our_error(client, status, sentence, kind):
    with pytest.raises(Error, match=re.escape(sentence)) as caught:
        client.ask(f"{status}: {sentence}")
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_a_call_that_breaks_under_a_stream_is_no_error_of_the_model(client):
    with pytest.raises(ServerUnavailable, match=r"no answer from .*: Socket closed") as caught:
        list(client.ask_stream("the call: Socket closed"))
    assert isinstance(caught.value.__cause__, grpc.RpcError)


def test_streams_do_not_ask_for_triton_grpc_error(client, triton):
    """A few dozen failing streams at once in that mode kill server 2.51."""
    list(client.ask_stream("go on"))
    assert "triton_grpc_error" not in triton.metadata[0]
    assert triton.requests[0].parameters["status"].bool_param


def test_an_error_inside_a_stream_comes_after_what_was_answered(client):
    chunks = client.ask_stream("INTERNAL: something broke", request_id="number 3")
    assert next(chunks).text == "one "
    with pytest.raises(InferenceFailed, match="something broke") as caught:
        next(chunks)
    assert (caught.value.model, caught.value.request_id) == ("llava", "number 3")


# Sentences of server 2.51's core, as it wrote them into streams.
@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        ("Request for unknown model: 'nope' is not found", ModelNotReady),
        ("Request for unknown model: 'llava' has no available versions", ModelNotReady),
        ("Request for unknown model: 'llava' version 1 is not at ready state", ModelNotReady),
        ("Stub process 'llava_0_0' is not healthy.", ModelNotReady),
        ("Server is stopping, scheduler for model has stopped accepting new inference requests", ModelNotReady),
        (
            "[request id: t] expected number of inputs between 1 and 12 but got 0 inputs for model 'llava'. Got "
            "input(s) [], but missing required input(s) ['text_input']. Please provide all required input(s).",
            InvalidInput,
        ),
        ("unexpected inference input 'zzz' for model 'llava'", InvalidInput),
        ("unexpected inference output 'zzz' for model 'llava'", InvalidInput),
        (
            "[request id: t] inference input 'text_input' data-type is 'INT32', but model 'llava' expects 'BYTES'",
            InvalidInput,
        ),
        (
            "[request id: t] unexpected shape for input 'text_input' for model 'llava'. Expected [-1,1], got [1,2]. "
            "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension",
            InvalidInput,
        ),
        ("[request id: t] inference request batch-size must be <= 1 for 'llava'", InvalidInput),
        (
            "[request id: t] input byte size mismatch for input 'max_tokens' for model 'llava'. Expected 4, got 3",
            InvalidInput,
        ),
        (
            "incomplete string data for inference input 'text_input', expecting string of length 9 but only 2 bytes "
            "available",
            InvalidInput,
        ),
        (
            "[request id: t] expected 1 string elements for inference input 'text_input' for model 'llava', got 0",
            InvalidInput,
        ),
        ("unable to find data for input tensor 'text_input' for model 'llava' in request.", InvalidInput),
        (
            "failed to get model version from specified version string 'x' (details: stol), version should be an "
            "integral value > 0",
            InvalidInput,
        ),
        ("invalid value type for 'timeout' parameter, expected int64_param.", InvalidInput),
        (
            "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for tensor 'x'",
            InvalidInput,
        ),
        ("Exceeds maximum queue size", Overloaded),
        ("model 'llava' already has 64 requests in flight, its limit; try again in 0.4 s", Overloaded),
        ("This protocol is restricted, expecting header 'triton-grpc-protocol-key'", NotServed),
        ("the request was cancelled", Cancelled),
        ("max_tokens is 0, must be 1 to 512", InferenceFailed),  # a model that does not know `status`: not to be told
    ],
)
def test_a_bare_sentence_inside_a_stream_is_told_by_its_words(client, triton, sentence, kind):
    triton.codes = False
    with pytest.raises(Error) as caught:
        list(client.ask_stream(f"INTERNAL: {sentence}"))
    assert type(caught.value) is kind
    assert str(caught.value) == sentence


def test_the_status_stands_before_the_sentence_also_inside_an_ensemble():
    message = "in ensemble 'assistant', INVALID_ARG: voice is 'nobody'\nthe voices are: joe"
    assert map_bare_error(message) == (InvalidInput, "in ensemble 'assistant', voice is 'nobody'\nthe voices are: joe")


def test_a_sentence_that_only_begins_like_a_status_is_left_whole():
    assert map_bare_error("UNHEARD_OF: words") == (InferenceFailed, "UNHEARD_OF: words")


@pytest.mark.parametrize(
    ("sentence", "kind", "after"),
    [
        ("model 'llava' already has 64 requests in flight, its limit; try again in 1.5 s", Overloaded, 1.5),
        ("model 'llava' is being restarted and is not ready; try again in 20.0 s", ModelNotReady, 20.0),
        ("Exceeds maximum queue size", Overloaded, None),
        ("Request for unknown model: 'llava' is not at ready state", ModelNotReady, None),
    ],
)
def test_a_refusal_says_when_to_try_again(client, sentence, kind, after):
    for ask in (lambda question: client.ask(question), lambda question: list(client.ask_stream(question))):
        with pytest.raises(kind) as caught:
            ask(f"UNAVAILABLE: {sentence}")
        assert caught.value.retry_after_s == after


def test_a_request_carries_its_time_out(client, triton):
    """Models do not see gRPC's deadline; they need to know for how long somebody waits."""
    client.ask("Hello", timeout_s=2.5)
    list(client.ask_stream("Hello", timeout_s=0.75))
    client.ask("Hello", timeout_s=1e9)
    sent = [request.parameters["timeout"].int64_param for request in triton.requests]
    assert sent == [2_500_000, 750_000, 10**15]


def test_every_grpc_status_has_an_error():
    kinds = {code: map_error(code, "")[0] for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
    assert all(issubclass(kind, Error) and kind is not Error for kind in kinds.values())


def test_every_error_of_the_tree_can_happen():
    tree = {value for value in vars(tritone_client).values() if isinstance(value, type) and issubclass(value, Error)}
    happening = {map_error(code, "")[0] for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
    assert tree - {Error} == happening | {ServerUnavailable}


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
