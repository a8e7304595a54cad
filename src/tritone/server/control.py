"""What only `tritone serve` may ask of its server: load and unload a model, its state, and whether a model answers.

The key of the closed APIs is made at each start and stays in this process and its server.
"""

from __future__ import annotations

import math
from typing import Any

import grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

from tritone.server.tritonserver import KEY_HEADER

# Bytes of one element. A zero element of STRING is a length of 0 in four bytes.
_SIZES = {"BOOL": 1, "8": 1, "16": 2, "32": 4, "64": 8, "BYTES": 4}
DEAD = "is not healthy"  # the Python backend's words for a stub that has died: "Stub process 'x' is not healthy."

OPTIONS = [
    # A proxy configured for this machine must not stand between us and our own server.
    ("grpc.enable_http_proxy", 0),
    # The server opens its port when all models have loaded. By then gRPC's own pause between two tries has grown to
    # 20 s and more, and so much later would the server be called ready.
    *((f"grpc.{which}_reconnect_backoff_ms", 200) for which in ("initial", "min", "max")),
]


class Control:
    """A gRPC connection to the server that holds the key of the closed APIs."""

    def __init__(self, address: str, key: str) -> None:
        self._channel = grpc.insecure_channel(address, OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._metadata = ((f"triton-grpc-protocol-{KEY_HEADER}", key),)

    def is_ready(self) -> bool:
        """Whether the server answers and calls itself ready."""
        try:
            return bool(self._stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=2).ready)
        except grpc.RpcError:
            return False

    def states(self) -> dict[str, str]:
        """Each loaded model's state, such as READY; raises grpc.RpcError."""
        answer = self._stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), metadata=self._metadata, timeout=10)
        return {model.name: model.state for model in answer.models}

    def reload(self, model: str, timeout_s: float) -> None:
        """Unload and load one model; raises grpc.RpcError with the server's reason, as `load` does.

        A load alone would do nothing, as the server still takes a model with a dead stub for loaded. It does not
        wait for the old instance: that one's requests fail by themselves. Ensembles that use the model follow it.
        """
        unload = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        self._stub.RepositoryModelUnload(unload, metadata=self._metadata, timeout=timeout_s)
        self.load(model, timeout_s)

    def load(self, model: str, timeout_s: float) -> None:
        """Load a model; raises grpc.RpcError with the server's reason, or with DEADLINE_EXCEEDED."""
        request = service_pb2.RepositoryModelLoadRequest(model_name=model)
        self._stub.RepositoryModelLoad(request, metadata=self._metadata, timeout=timeout_s)

    def ask(self, canary: Any, decoupled: bool) -> str:
        """Send a canary and wait for its answer however long it takes; returns the error, or "" where there is none.

        There is no time-out on purpose: server 2.51 crashes (SIGSEGV) when a response comes for a stream that its
        client has cancelled meanwhile.
        """
        try:
            if decoupled:
                responses = list(self._stub.ModelStreamInfer(iter([canary])))  # read to the end
                return next((response.error_message for response in responses if response.error_message), "")
            self._stub.ModelInfer(canary)
        except grpc.RpcError as error:
            return _coded(error)
        return ""

    def close(self) -> None:
        """End the connection, which the server would otherwise wait for when it stops."""
        self._channel.close()


def canary(name: str, config: Any, token: str = "", *, deep: bool = False) -> Any:
    """The smallest valid request to a model, marked `canary`: zeros and empty strings, open dimensions 1.

    `serving.Model` answers such a request at once from inside `execute`, without running the model; a deep one has the
    model run one row of its own. `token` shows stubs that it is we who ask.
    """
    request = service_pb2.ModelInferRequest(model_name=name)
    if deep:
        request.parameters["canary"].string_param = "deep"
        # Has the status code put in front of an error's sentence: a decoupled model's stream has no place for it.
        request.parameters["status"].bool_param = True
    else:
        request.parameters["canary"].bool_param = True
    if token:
        request.parameters["token"].string_param = token
    required = [tensor for tensor in config.input if not tensor.optional]
    for tensor in required or config.input[:1]:
        shape = [1] * (config.max_batch_size > 0) + [1 if dim == -1 else dim for dim in tensor.dims]
        datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
        request.inputs.add(name=tensor.name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(bytes(_size(datatype) * math.prod(shape)))
    return request


def _coded(error: Any) -> str:
    """An error's sentence with its status code in front, whoever wrote that."""
    sentence, code = str(error.details()), error.code().name
    return sentence if sentence.startswith(f"{code}: ") else f"{code}: {sentence}"


def _size(datatype: str) -> int:
    return _SIZES[datatype] if datatype in _SIZES else _SIZES[datatype.lstrip("UINTFPB")]
