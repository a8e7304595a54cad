"""Triton's protocol over HTTP as bytes and back, without I/O.

A unary request is `infer` with the binary tensor data extension: a JSON header, then the tensors as they are. A stream
is `generate_stream`: JSON in, server-sent events out; bytes go as base64 both ways.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    serialize_byte_tensor,
    triton_to_np_dtype,
)

from tritone_client.calls.call import Outputs, Request
from tritone_client.calls.models import MODELS, NUMBERS, Tensor
from tritone_client.exceptions import Error, InferenceFailed, InvalidInput
from tritone_client.transports.errors import error_of, map_bare_error, map_http_error

HEADER_LENGTH = "inference-header-content-length"
OPENAI = (
    "this address speaks OpenAI's API, as `tritone gateway` does, and not Triton's: name the Triton server behind it, "
    "such as localhost:8001, or come with an OpenAI client and <address>/v1"
)
# Tensors that are files, by the ends of their names: base64 where they stand in JSON.
FILES = ("_bytes", "_wav", "_png")


def write_infer(request: Request) -> tuple[bytes, dict[str, str]]:
    """The body of `infer`, and the headers that say how to read it."""
    header: dict[str, Any] = {"id": request.request_id, "parameters": {"timeout": microseconds(request)}}
    raw = [_raw(array) for array in request.inputs.values()]
    header["inputs"] = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": np_to_triton_dtype(array.dtype),
            "parameters": {"binary_data_size": len(data)},
        }
        for (name, array), data in zip(request.inputs.items(), raw, strict=True)
    ]
    header["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in request.outputs]
    written = json.dumps(header).encode()
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(written))}
    return b"".join([written, *raw]), headers


def read_infer(request: Request, headers: Mapping[str, str], body: bytes) -> Outputs:
    """The arrays of a response of `infer`, by name.

    Raises: InferenceFailed: it is none.
    """
    try:
        length = int(headers.get(HEADER_LENGTH, len(body)))
        outputs, place, found = json.loads(body[:length])["outputs"], length, {}
        for output in outputs:
            size = output["parameters"]["binary_data_size"]
            found[output["name"]] = _array(output["datatype"], body[place : place + size]).reshape(output["shape"])
            place += size
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(request, error) from error
    return found


def write_generate(request: Request) -> bytes:
    """The body of `generate_stream`."""
    dims = {tensor.name: tensor.dims for tensor in MODELS[request.model].inputs}
    values = {name: _plain(name, array, dims[name] == (1,)) for name, array in request.inputs.items()}
    parameters = {"status": True, "binary": "base64", "timeout": microseconds(request)}
    return json.dumps({**values, "id": request.request_id, "parameters": parameters}, ensure_ascii=False).encode()


def read_event(request: Request, data: str) -> Outputs:
    """The arrays that a server-sent event holds, but for those of several free dimensions: JSON has lost their shape.

    Raises: Error: the one it holds instead. InferenceFailed: it is no JSON.
    """
    try:
        content = dict(json.loads(data))
        if "error" in content:
            kind, said = map_bare_error(str(content["error"]))
            raise error_of(kind, said, request.model, request.request_id)
        tensors = {tensor.name: tensor for tensor in MODELS[request.model].outputs if len(tensor.dims) == 1}
        return {name: _from_json(tensors[name], value) for name, value in content.items() if name in tensors}
    except (TypeError, ValueError) as error:
        raise _unreadable(request, error) from error


def read_failure(status: int, body: bytes, model: str | None, request_id: str | None) -> Error:
    """The error of a response that is none of success; the one of `generate_stream` is an event even then."""
    said = _error_in(body)
    if isinstance(said, dict):
        return InvalidInput(OPENAI, model=model, request_id=request_id)
    return error_of(*map_http_error(status, said), model, request_id)


def is_openai(body: bytes) -> bool:
    """Whether an error is one of OpenAI's API, where Triton's was expected."""
    return isinstance(_error_in(body), dict)


def _error_in(body: bytes) -> str | dict[str, Any]:
    """Triton's sentence, or what OpenAI's API has in its place; "" of what stands before either."""
    try:
        said = json.loads(body.strip().removeprefix(b"data:"))["error"]
    except (KeyError, TypeError, ValueError):
        return ""
    return said if isinstance(said, dict) else str(said)


class EventReader:
    """Bytes to the data of server-sent events. Not by lines of text: JSON may hold what Unicode calls a line's end."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, received: bytes) -> list[str]:
        """The data of the events that have ended."""
        *lines, self._rest = (self._rest + received).split(b"\n")
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line and self._data:
                events.append(str(b"\n".join(self._data), "utf-8", "replace"))
                self._data = []
        return events


def microseconds(request: Request) -> int:
    """The time-out as Triton takes it, for models do not see when the connection is given up."""
    return max(1, round(request.timeout_s * 1e6))


def _raw(array: npt.NDArray[Any]) -> bytes:
    if array.dtype == np.object_:
        return bytes(serialize_byte_tensor(array).item())
    return np.ascontiguousarray(array).tobytes()


def _array(datatype: str, data: bytes) -> npt.NDArray[Any]:
    if datatype == "BYTES":
        strings: npt.NDArray[Any] = deserialize_bytes_tensor(data)
        return strings
    return np.frombuffer(data, triton_to_np_dtype(datatype))


def _plain(name: str, array: npt.NDArray[Any], is_single: bool) -> Any:
    values = array[0].tolist()
    if array.dtype == np.object_:
        values = [
            str(base64.b64encode(value), "ascii") if name.endswith(FILES) else str(value, "utf-8") for value in values
        ]
    return values[0] if is_single else values


def _from_json(tensor: Tensor, value: Any) -> npt.NDArray[Any]:
    values = value if isinstance(value, list) else [value]  # Triton writes a list of one without its brackets
    if tensor.datatype != "BYTES":
        return np.array([values], NUMBERS[tensor.datatype])
    encoded = [base64.b64decode(each) if tensor.name.endswith(FILES) else str(each).encode() for each in values]
    return np.array([encoded], np.object_)


def _unreadable(request: Request, error: Exception) -> InferenceFailed:
    message = f"the answer of '{request.model}' cannot be read: {error!r}"
    return InferenceFailed(message, model=request.model, request_id=request.request_id)
