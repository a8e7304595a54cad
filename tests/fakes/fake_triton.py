"""Servers that speak Triton's protocol and misbehave on demand; `fake_triton_http` is the same over HTTP."""

import threading
from concurrent import futures

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

PATIENCE_S = 10  # bound on every wait; nothing here takes a tenth of it
STATUS = {code.name: code for code in grpc.StatusCode}
TRITON = {"INVALID_ARGUMENT": "INVALID_ARG", "UNIMPLEMENTED": "UNSUPPORTED"}  # where Triton's names differ from gRPC's


class Behaviour:
    """Does what the question says: "INTERNAL: sentence" fails so, "wait" waits for the caller to leave.

    `refusals` come first, one a request. Inside a stream an error has no status: a model of ours writes it in front of
    its sentence if the request says so.
    """

    def __init__(self) -> None:
        self.requests = []
        self.ids = []
        self.timeouts = []  # microseconds
        self.metadata = []
        self.refusals = []
        self.busy = threading.Event()
        self.left = threading.Event()
        self.ready = True
        self.codes = True  # whether its models put the status in front of their errors

    def told(self, order: str) -> tuple[str, str]:
        """(status, sentence) of an error that this question orders; a status of "" is none."""
        code, _, sentence = (self.refusals.pop(0) if self.refusals else order).partition(": ")
        return (code, sentence) if code in STATUS or code == "the call" else ("", "")

    def written(self, code: str, sentence: str, coded: bool) -> str:
        """An error as it stands in a stream."""
        return f"{TRITON.get(code, code)}: {sentence}" if coded and self.codes else sentence


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


class Triton(Behaviour, service_pb2_grpc.GRPCInferenceServiceServicer):
    """Over gRPC."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines = []  # seconds that gRPC itself gives

    def _hear(self, request, context):
        self.deadlines.append(context.time_remaining())
        self.requests.append(request)
        self.ids.append(request.id)
        self.timeouts.append(request.parameters["timeout"].int64_param)
        self.metadata.append(dict(context.invocation_metadata()))
        return request.raw_input_contents[0][4:].decode()

    def _wait(self, order, context):
        if order == "wait":
            gone = threading.Event()
            if not context.add_callback(gone.set):  # he has left already
                gone.set()
            self.busy.set()
            gone.wait(PATIENCE_S)
            self.left.set()

    def ModelInfer(self, request, context):  # noqa: N802 - the protocol's names
        order = self._hear(request, context)
        code, sentence = self.told(order)
        if code in STATUS:
            context.abort(STATUS[code], sentence)
        self._wait(order, context)
        return answer(order, "stop", request.id)

    def ModelStreamInfer(self, requests, context):  # noqa: N802
        request = next(requests)
        refused = bool(self.refusals)
        order = self._hear(request, context)
        code, sentence = self.told(order)
        if not refused:
            yield service_pb2.ModelStreamInferResponse(infer_response=answer("one ", ""))
        if code == "the call":
            context.abort(grpc.StatusCode.UNAVAILABLE, sentence)
        if code:
            text = self.written(code, sentence, request.parameters["status"].bool_param)
            yield service_pb2.ModelStreamInferResponse(error_message=text)
            return
        self._wait(order, context)
        yield service_pb2.ModelStreamInferResponse(infer_response=answer("two", "stop"))
        yield service_pb2.ModelStreamInferResponse()  # the final flag of a decoupled model comes empty

    def ServerReady(self, request, context):  # noqa: N802
        self.metadata.append(dict(context.invocation_metadata()))
        return service_pb2.ServerReadyResponse(ready=self.ready)

    def ModelReady(self, request, context):  # noqa: N802
        return service_pb2.ModelReadyResponse(ready=request.name == "llava")


def start(service: Triton, credentials=None, port: int = 0) -> Triton:
    """Serve on a free port unless told; `service.url` says which, and `service.server.stop(0)` ends it."""
    service.server = grpc.server(
        futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1)],  # as Triton
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, service.server)
    if credentials is None:
        port = service.server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        port = service.server.add_secure_port(f"127.0.0.1:{port}", credentials)
    service.url = f"127.0.0.1:{port}"
    service.server.start()
    return service


def stop(service: Triton) -> None:
    """End it, whoever waits."""
    service.server.stop(0).wait(PATIENCE_S)
