"""How requests reach the server. `GrpcTransport` is the only code here that knows tritonclient and gRPC."""

import contextlib
import re
from collections.abc import Generator, Iterator
from typing import Any, Protocol

import grpc
import numpy as np
from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from tritone_client._calls import Outputs, Request
from tritone_client._exceptions import (
    Cancelled,
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    Refusal,
    RequestTimedOut,
    ServerUnavailable,
)

_ERRORS: dict[grpc.StatusCode, type[Error]] = {
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNKNOWN: InferenceFailed,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.DEADLINE_EXCEEDED: RequestTimedOut,
    grpc.StatusCode.NOT_FOUND: ModelNotReady,
    grpc.StatusCode.ALREADY_EXISTS: InferenceFailed,
    grpc.StatusCode.PERMISSION_DENIED: NotServed,
    grpc.StatusCode.UNAUTHENTICATED: NotServed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidInput,
    grpc.StatusCode.ABORTED: InferenceFailed,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.UNIMPLEMENTED: NotServed,
    grpc.StatusCode.INTERNAL: InferenceFailed,
    grpc.StatusCode.UNAVAILABLE: Overloaded,
    grpc.StatusCode.DATA_LOSS: InferenceFailed,
}
# gRPC says UNAVAILABLE both for a broken connection and for a server that refuses, and tells them apart in words only.
_NO_CONNECTION = (
    "connect",  # failed to connect to all addresses; Connection refused; Connection reset by peer; upstream connect
    "socket closed",
    "broken pipe",
    "cancelling all calls",  # the server is going away
    "goaway",
    "keepalive",
    "ping timeout",
    "resolving",
    "name resolution",
    "dns resolution",
    "no healthy upstream",  # what proxies say
    "endpoint closing",
    "transport closed",
    "stream removed",
)
# Triton's words for a model that is (un)loading, and for one whose process died and waits for the watchdog.
_NOT_READY = (
    "not at ready state",
    "no available versions",
    "unknown model",
    "is not healthy",
    "is not ready",
    "has stopped accepting",  # Server is stopping, scheduler for model has stopped accepting new inference requests
    "server not ready",
)
# Inside a stream an error comes as bare text, without its status. Our models write Triton's name of the status in front
# where the request asks for it by its parameter `status`; what Triton's core says itself is told by its words.
_TRITON_CODES = {
    "UNKNOWN": grpc.StatusCode.UNKNOWN,
    "INTERNAL": grpc.StatusCode.INTERNAL,
    "NOT_FOUND": grpc.StatusCode.NOT_FOUND,
    "INVALID_ARG": grpc.StatusCode.INVALID_ARGUMENT,
    "UNAVAILABLE": grpc.StatusCode.UNAVAILABLE,
    "UNSUPPORTED": grpc.StatusCode.UNIMPLEMENTED,
    "ALREADY_EXISTS": grpc.StatusCode.ALREADY_EXISTS,
    "CANCELLED": grpc.StatusCode.CANCELLED,
}
_CODED = re.compile(
    rf"(?P<place>in ensemble '[^']*', )?(?P<code>{'|'.join(_TRITON_CODES)}): (?P<sentence>.*)", re.DOTALL
)
_RESTRICTED = "protocol is restricted"  # This protocol is restricted, expecting header 'triton-grpc-protocol-...'
_CORE_WORDS = {
    grpc.StatusCode.UNAVAILABLE: (
        *_NOT_READY,
        _RESTRICTED,
        "exceeds maximum queue size",
        "request timeout expired",
        "; try again in ",
    ),
    grpc.StatusCode.INVALID_ARGUMENT: (
        "unexpected shape",
        "unexpected inference input",
        "unexpected inference output",
        "unexpected datatype",
        "data-type is",
        "inputs but got",
        "missing required input",
        "batch-size must be",
        "unexpected total byte size",
        "byte size mismatch for input",
        "string elements",
        "string data",
        "string length",
        "unable to find data for input",
        "model version from specified version string",
        "invalid value type for",
        "must be specified along with",
    ),
    grpc.StatusCode.CANCELLED: ("cancelled", "canceled"),
    grpc.StatusCode.UNIMPLEMENTED: ("doesn't support", "not supported"),
}
_TRY_AGAIN = re.compile(r"; try again in (\d+(?:\.\d+)?) s")

# Triton counts keep-alive pings more often than every 300 s as an attack, so ours come a little slower; they find
# connections that a firewall dropped in silence. Messages are as large as gRPC allows, as on the server.
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),  # each client has its own connection and shares no one's back-off
)


class Transport(Protocol):
    """What a client needs of the wire. Every method raises errors of this package only."""

    def infer(self, request: Request) -> Outputs:
        """The one answer to a request."""

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """The answers to a request, as they come; closing the generator cancels the request."""

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """Whether the server, or one model, says that it is ready."""

    def close(self) -> None:
        """Give the connection back."""


class GrpcTransport:
    """A gRPC connection, opened by the first request. May be used by many threads at a time.

    Args:
        url: "host:port", without scheme.
    """

    def __init__(self, url: str) -> None:
        if "://" in url:
            raise InvalidInput(f"url is '{url}', must be host:port of the server's gRPC address: localhost:8001")
        self.url = url
        self._channel = grpc.insecure_channel(url, options=_CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def infer(self, request: Request) -> Outputs:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id):
            return read_response(self._stub.ModelInfer(write_request(request), timeout=request.timeout_s))

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id):
            message = write_request(request)
            # No metadata `triton_grpc_error`, by which errors would come with their status: in that mode server 2.51
            # is killed by a few dozen failing streams at a time (SIGABRT; mended in 26.04).
            message.parameters["status"].bool_param = True
            responses = self._stub.ModelStreamInfer(iter((message,)), timeout=request.timeout_s)
            try:
                for response in responses:
                    if response.error_message:
                        kind, said = map_bare_error(response.error_message)
                        raise _error(kind, said, request.model, request.request_id)
                    if response.infer_response.outputs:  # the last one may be empty
                        yield read_response(response.infer_response)
            finally:
                responses.cancel()

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport."""
        with self._errors(timeout_s, model, None):
            if model is None:
                return bool(self._stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=timeout_s).ready)
            return bool(self._stub.ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=timeout_s).ready)

    def close(self) -> None:
        """See Transport. Requests under way are cancelled."""
        self._channel.close()

    @contextlib.contextmanager
    def _errors(self, timeout_s: float, model: str | None, request_id: str | None) -> Iterator[None]:
        """Turn foreign errors into ours, with the request they belong to."""
        try:
            yield
        except grpc.RpcError as error:
            kind, message = map_error(error.code(), error.details() or "")
            if kind is ServerUnavailable:
                message = f"no answer from {self.url}: {message}"
            if kind is RequestTimedOut:
                message = f"no answer from {self.url} within {timeout_s:g} s"
            raise _error(kind, message, model, request_id) from error
        except ValueError as error:
            if "closed channel" not in str(error):
                raise
            raise Cancelled("the client is closed", model=model, request_id=request_id) from error


def map_error(code: grpc.StatusCode, message: str) -> tuple[type[Error], str]:
    """The error class for a gRPC status, and what to say."""
    words = message.lower()
    said = message or code.name
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL) and _any_of(_NOT_READY, words):
        return ModelNotReady, said
    if code is grpc.StatusCode.UNAVAILABLE and _RESTRICTED in words:
        return NotServed, said
    if code is grpc.StatusCode.UNAVAILABLE and _any_of(_NO_CONNECTION, words):
        return ServerUnavailable, said
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in words:
        return InvalidInput, said
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "metadata size exceeds" in words:
        return InferenceFailed, f"the server failed with a sentence too long to be sent: {said}"
    return _ERRORS[code], said


def map_bare_error(message: str) -> tuple[type[Error], str]:
    """The error class for an error that came inside a stream, without a gRPC status, and what to say."""
    if coded := _CODED.fullmatch(message):
        return map_error(_TRITON_CODES[coded["code"]], (coded["place"] or "") + coded["sentence"])
    words = message.lower()
    told = (code for code, phrases in _CORE_WORDS.items() if _any_of(phrases, words))
    return map_error(next(told, grpc.StatusCode.UNKNOWN), message)


def _error(kind: type[Error], message: str, model: str | None, request_id: str | None) -> Error:
    """The error, with the seconds after which a refusal says that the request may be sent again."""
    if issubclass(kind, Refusal):
        found = _TRY_AGAIN.search(message)
        after = float(found[1]) if found else None
        return kind(message, model=model, request_id=request_id, retry_after_s=after)
    return kind(message, model=model, request_id=request_id)


def _any_of(phrases: tuple[str, ...], words: str) -> bool:
    return any(phrase in words for phrase in phrases)


def write_request(request: Request) -> Any:
    """The protocol's ModelInferRequest. It carries the time-out, as models do not see gRPC's own deadline."""
    message = service_pb2.ModelInferRequest(model_name=request.model, id=request.request_id)
    message.parameters["timeout"].int64_param = max(1, round(request.timeout_s * 1e6))
    for name, array in request.inputs.items():
        message.inputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
        is_bytes = array.dtype == np.object_
        message.raw_input_contents.append(
            serialize_byte_tensor(array).item() if is_bytes else np.ascontiguousarray(array).tobytes()
        )
    for name in request.outputs:
        message.outputs.add(name=name)
    return message


def read_response(response: Any) -> Outputs:
    """The arrays of the protocol's ModelInferResponse, by name."""
    result = InferResult(response)
    return {output.name: result.as_numpy(output.name) for output in response.outputs}
