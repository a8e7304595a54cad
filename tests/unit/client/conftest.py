"""A real gRPC server that speaks Triton's protocol and misbehaves on demand."""

import socket
import threading
from concurrent import futures

import grpc
import numpy as np
import pytest
from blocking import Blocking
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from tritone_client import AsyncClient, Client, MockTransport

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


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request):
    """Makes clients of either kind, with the arguments of `Client`."""
    made = []

    def connect(*args, **options):
        if request.param == "Client":
            client = Client(*args, **options)
        else:
            client = Blocking(lambda: AsyncClient(*args, **options))
        made.append(client)
        return client

    yield connect
    for client in made:
        client.stop() if isinstance(client, Blocking) else client.close()


@pytest.fixture
def client_of(connect):
    """A client that gets these outputs to every request, and the list of its requests."""

    def client_of(outputs):
        transport = MockTransport(lambda request: outputs)
        return connect(transport=transport), transport.requests

    return client_of


@pytest.fixture
def client(triton, connect):
    return connect(triton.url, timeout_s=PATIENCE_S)


@pytest.fixture
def closed_port():
    with socket.socket() as held:  # bound but not listening: nobody else gets it, and it refuses
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
