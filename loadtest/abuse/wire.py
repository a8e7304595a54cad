"""Requests as they stand on the wire, and a caller who always gets an outcome: an answer, a status code, or silence."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

UNARY = "/inference.GRPCInferenceService/ModelInfer"
OK = "OK"
SILENT = "DEADLINE_EXCEEDED"  # nobody answered in time
# Each caller has a connection of its own, and messages may be as large as gRPC allows.
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
# Asks our models for the name of the status in front of an error inside a stream, which comes without one otherwise. No
# metadata `triton_grpc_error`: a few hundred failing streams with it, one after the other, end server 2.51.
STATUS = "status"

Outputs = dict[str, Any]  # numpy arrays by name, with the batch axis
Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What a caller saw."""

    code: str  # a gRPC status' name, or of HTTP "200" and so on
    seconds: float
    started: float  # time.monotonic()
    parts: list[Outputs] = field(default_factory=list, repr=False)  # one, or those of a stream
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is an answer and no error."""
        return self.code == OK


def message(model: str, inputs: Inputs, request_id: str = "") -> Any:
    """ModelInferRequest of a batch of one: text, bytes, numbers, lists of them, or arrays without the batch axis."""
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    for name, value in inputs.items():
        add(request, name, array_of(value)[None])
    return request


def add(request: Any, name: str, array: np.ndarray, datatype: str = "", shape: Sequence[int] | None = None) -> None:
    """Put an array into a request, with another dtype or shape than its own if so told."""
    tensor = datatype or np_to_triton_dtype(array.dtype)
    request.inputs.add(name=name, datatype=tensor, shape=list(array.shape) if shape is None else list(shape))
    is_bytes = array.dtype == np.object_
    # .item() fails where there is nothing to serialise
    raw = (serialize_byte_tensor(array).item() if array.size else b"") if is_bytes else array.tobytes()
    request.raw_input_contents.append(raw)


def array_of(value: Any) -> np.ndarray:
    """The tensor of a plain value; float32 and int32 unless numpy says otherwise."""
    if isinstance(value, np.ndarray):
        return value
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if isinstance(values[0], (str, bytes)):
        return np.array([v.encode() if isinstance(v, str) else v for v in values], np.object_)
    if isinstance(values[0], (bool, np.generic)):
        return np.array(values)
    return np.array(values, np.float32 if isinstance(values[0], float) else np.int32)


def read(body: bytes) -> Outputs:
    """The outputs in a serialised ModelInferResponse."""
    return outputs_of(service_pb2.ModelInferResponse.FromString(body))


def outputs_of(response: Any) -> Outputs:
    """The arrays of a ModelInferResponse, by name."""
    result = InferResult(response)
    return {output.name: result.as_numpy(output.name) for output in response.outputs}


def text(outputs: Outputs, name: str) -> str:
    """The one text of an output of shape (1, 1)."""
    return bytes(outputs[name][0, 0]).decode()


def _said(message: str) -> tuple[str, str]:
    """Code and sentence of an error inside a stream; STREAM_ERROR where the server's core speaks for itself."""
    word, _, sentence = message.partition(": ")
    if word == "INVALID_ARG":  # Triton's name of what gRPC calls otherwise
        return "INVALID_ARGUMENT", sentence
    return (word, sentence) if word in grpc.StatusCode.__members__ else ("STREAM_ERROR", message)


class Caller:
    """Somebody with a gRPC connection of their own. No method raises for what the server does."""

    def __init__(self, address: str, deadline_s: float = 60.0) -> None:
        self.deadline_s = deadline_s
        self.channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self.channel)

    def ask(self, request: Any, stream: bool = False, deadline_s: float | None = None) -> Outcome:
        """Send a request and wait for its answer, or for all of its stream."""
        started, parts = time.monotonic(), list[Outputs]()
        limit = self.deadline_s if deadline_s is None else deadline_s
        code, detail = OK, ""
        try:
            if stream:
                for response in self.begin(request, limit):
                    if response.error_message:
                        code, detail = _said(response.error_message)
                    elif response.infer_response.outputs:
                        parts.append(outputs_of(response.infer_response))
            else:
                parts.append(outputs_of(self.stub.ModelInfer(request, timeout=limit)))
        except grpc.RpcError as error:
            code, detail = error.code().name, error.details() or ""
        return Outcome(code, time.monotonic() - started, started, parts, detail)

    def begin(self, request: Any, deadline_s: float | None = None) -> Any:
        """Start a stream; iterate over its responses, or `cancel()` it."""
        limit = self.deadline_s if deadline_s is None else deadline_s
        asked = service_pb2.ModelInferRequest()
        asked.CopyFrom(request)
        asked.parameters[STATUS].bool_param = True
        return self.stub.ModelStreamInfer(iter((asked,)), timeout=limit)

    def close(self) -> None:
        """Hang up."""
        self.channel.close()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def http_to(address: str, timeout_s: float = 30.0) -> Iterator[http.client.HTTPConnection]:
    """An HTTP connection that is closed at the end."""
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        yield connection
    finally:
        connection.close()


def get(address: str, path: str, timeout_s: float = 10.0) -> tuple[int, str]:
    """Status and body of a page; status 0 if nobody answers."""
    try:
        with http_to(address, timeout_s) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""


def post(address: str, path: str, body: bytes | dict[str, Any], timeout_s: float = 30.0) -> Outcome:
    """Send a body, JSON unless it is bytes. The code is the status; SILENT if none came, RESET if the line broke."""
    started = time.monotonic()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with http_to(address, timeout_s) as connection:
            connection.request("POST", path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            code, detail = str(response.status), response.read().decode(errors="replace")
    except TimeoutError:
        code, detail = SILENT, f"no answer within {timeout_s:g} s"
    except (OSError, http.client.HTTPException) as error:
        code, detail = "RESET", type(error).__name__
    return Outcome(code, time.monotonic() - started, started, detail=detail)
