"""Requests over gRPC."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import InferResult, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, serialize_byte_tensor

from tritone_client.calls.call import Outputs, Request
from tritone_client.exceptions import Cancelled, ServerUnavailable
from tritone_client.transports.access import Access, Address
from tritone_client.transports.errors import error_of, map_bare_error, map_error

# Triton counts keep-alive pings more often than every 300 s as an attack, so ours come a little slower; they find
# connections that a firewall dropped in silence. Messages are as large as gRPC allows, as on the server.
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # for how long one connects: a machine that is gone says nothing
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),  # each client has its own connection and shares no one's back-off
)
# By so much the deadline that gRPC itself keeps is later than the one the server is told, for requests with one answer.
# A call that ends by its own deadline just as its answer is made kills server 2.51 (SIGSEGV in ModelInferHandler;
# mended in 25.04), and with one deadline for both that is what happens. So the server's answer comes first.
_GRACE_S = 0.5
# All addresses that a name has, in turn.
_BALANCED = (("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),)


class _Grpc:
    """What both kinds of transport have in common."""

    def __init__(self, address: Address, access: Access) -> None:
        self.url = address.target
        self._metadata = access.metadata
        self._options = _CHANNEL_OPTIONS + (() if is_one_machine(address) else _BALANCED)
        self._credentials = grpc.ssl_channel_credentials(**access.pem()) if address.is_encrypted else None

    def _channel_of(self, made_by: Any) -> Any:
        """A channel of `grpc` or `grpc.aio`."""
        if self._credentials is None:
            return made_by.insecure_channel(self.url, options=self._options)
        return made_by.secure_channel(self.url, self._credentials, options=self._options)

    def _sending(self, request: Request, grace_s: float = 0.0) -> dict[str, Any]:
        """The arguments of gRPC with which a request goes."""
        metadata = tuple({**self._metadata, **request.metadata}.items())
        return {"timeout": request.timeout_s + grace_s, "metadata": metadata}

    @contextlib.contextmanager
    def _errors(self, timeout_s: float, model: str | None, request_id: str | None) -> Iterator[None]:
        """Turn foreign errors into ours, with the request they belong to."""
        try:
            yield
        except grpc.RpcError as error:
            kind, message = map_error(error.code().name, error.details() or "")
            if kind is ServerUnavailable:
                message = f"no answer from {self.url}: {message}"
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                message = f"no answer from {self.url} within {timeout_s:g} s"
            raise error_of(kind, message, model, request_id) from error
        except (ValueError, grpc.aio.UsageError) as error:
            if "closed" not in str(error):
                raise
            raise Cancelled("the client is closed", model=model, request_id=request_id) from error


class GrpcTransport(_Grpc):
    """A gRPC connection, opened by the first request. May be used by many threads at a time."""

    def __init__(self, address: Address, access: Access) -> None:
        super().__init__(address, access)
        self._channel = self._channel_of(grpc)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def infer(self, request: Request) -> Outputs:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id):
            return read_response(self._stub.ModelInfer(write_request(request), **self._sending(request, _GRACE_S)))

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id):
            sent = iter((write_stream_request(request),))
            responses = self._stub.ModelStreamInfer(sent, **self._sending(request))
            try:
                for response in responses:
                    if (outputs := read_part(request, response)) is not None:
                        yield outputs
            finally:
                responses.cancel()

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport."""
        with self._errors(timeout_s, model, None):
            method, message = readiness(self._stub, model)
            return bool(method(message, timeout=timeout_s, metadata=tuple(self._metadata.items())).ready)

    def close(self) -> None:
        """See Transport. Requests under way are cancelled."""
        self._channel.close()


class AsyncGrpcTransport(_Grpc):
    """The same for an event loop, that of the first request."""

    def __init__(self, address: Address, access: Access) -> None:
        super().__init__(address, access)
        self._channel: Any = None
        self._closed = False

    async def ainfer(self, request: Request) -> Outputs:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id), self._closing(request):
            sending = self._sending(request, _GRACE_S)
            return read_response(await self._stub().ModelInfer(write_request(request), **sending))

    async def astream(self, request: Request) -> AsyncGenerator[Outputs, None]:
        """See Transport."""
        with self._errors(request.timeout_s, request.model, request.request_id), self._closing(request):
            responses = self._stub().ModelStreamInfer(**self._sending(request))
            try:
                # Not as an iterator: the task that reads it outlives a call that is left early, and Python says so.
                await responses.write(write_stream_request(request))
                await responses.done_writing()
                async for response in responses:
                    if (outputs := read_part(request, response)) is not None:
                        yield outputs
            finally:
                responses.cancel()

    async def ais_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport."""
        with self._errors(timeout_s, model, None):
            method, message = readiness(self._stub(), model)
            return bool((await method(message, timeout=timeout_s, metadata=tuple(self._metadata.items()))).ready)

    async def aclose(self) -> None:
        """See Transport. Requests under way are cancelled."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    def _stub(self) -> Any:
        if self._closed:
            raise grpc.aio.UsageError("the channel is closed")
        if self._channel is None:  # made here, as it belongs to the event loop that runs
            self._channel = self._channel_of(grpc.aio)
            self._made = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        return self._made

    @contextlib.contextmanager
    def _closing(self, request: Request) -> Iterator[None]:
        """What gRPC cancels because the client was closed is an error of ours: nobody cancelled the task."""
        try:
            yield
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise Cancelled("the client is closed", model=request.model, request_id=request.request_id) from error


def is_one_machine(address: Address) -> bool:
    """Whether there is no name that may stand for several addresses."""
    return address.host == "localhost" or address.host.replace(".", "").isdigit() or ":" in address.host


def readiness(stub: Any, model: str | None) -> tuple[Any, Any]:
    """The method that says whether the server, or one model, is ready; and its message."""
    if model is None:
        return stub.ServerReady, service_pb2.ServerReadyRequest()
    return stub.ModelReady, service_pb2.ModelReadyRequest(name=model)


def write_stream_request(request: Request) -> Any:
    """The same as `write_request`, for a stream, whose errors have no status of their own.

    Not by the metadata `triton_grpc_error`, by which they would have: in that mode server 2.51 is killed by a few dozen
    failing streams at a time (SIGABRT; mended in 26.04).
    """
    message = write_request(request)
    message.parameters["status"].bool_param = True
    return message


def read_part(request: Request, response: Any) -> Outputs | None:
    """What a response of a stream holds; None of one without outputs, as the last may be.

    Raises: Error: the one it holds instead.
    """
    if response.error_message:
        kind, said = map_bare_error(response.error_message)
        raise error_of(kind, said, request.model, request.request_id)
    return read_response(response.infer_response) if response.infer_response.outputs else None


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
