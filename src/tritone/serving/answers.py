"""From rows of a model to Triton's responses, and from errors to their status codes and sentences."""

import asyncio
import contextlib
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from tritone.errors import InvalidInput, NotServed, Unavailable
from tritone.pulse import Heart
from tritone.serving.bls import CallFailed, Row
from tritone.serving.request import ERROR, Request
from tritone.serving.tensors import BINARY, LEFT_OUT, NUMBERS, STRING, array_of, as_base64
from tritone.serving.threads import in_thread

LONGEST = 1_000  # bytes of an error's sentence: gRPC carries it in a header, which clients bound at 16 KB
# What PyTorch says of a device that will fail every further call: its context is gone, only a new process gets another.
_DEVICE_ERRORS = ("CUDA error", "device-side assert", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")


class Answers:
    """Makes the responses of one model."""

    def __init__(self, model: str, outputs: Sequence[dict[str, Any]], heart: Heart) -> None:
        """`outputs`: as in the model's configuration."""
        self._model, self._heart = model, heart
        self._types = {tensor["name"]: tensor["data_type"] for tensor in outputs}
        self._has_files = any(self._is_file(name) for name in self._types)

    def response(self, request: Request, rows: Sequence[Row]) -> Any:
        """The outputs that were asked for, all rows stacked along the batch axis; nothing for a sign of life."""
        tensors = []
        for name in self._wanted(request):
            values = [self._array(request, name, row[name]) for row in rows if name in row]
            if len({value.shape for value in values}) > 1:
                raise InvalidInput(f"'{name}' differs in length between the {len(rows)} rows: send one row per request")
            if values:
                tensors.append(pb_utils.Tensor(name, np.stack(values)))
        return pb_utils.InferenceResponse(tensors)

    def _wanted(self, request: Request) -> list[str]:
        """JSON gets no samples or pixels of a model that has them as a file, too."""
        if request.canary:
            return []
        left_out = NUMBERS if request.as_json and self._has_files else ()
        return [name for name in request.outputs if name not in left_out]

    def _array(self, request: Request, name: str, value: Any) -> npt.NDArray[Any]:
        if not self._is_file(name) or not (request.binary or request.as_json):
            return array_of(self._types[name], value)
        return as_base64(array_of(self._types[name], value)) if request.binary else array_of(STRING, LEFT_OUT)

    def _is_file(self, name: str) -> bool:
        return self._types[name] == STRING and name.endswith(BINARY)

    async def response_later(self, request: Request, rows: Sequence[Row]) -> Any:
        """`response`, on a thread where a value is still to be made, such as a PNG file."""
        if any(callable(value) for row in rows for value in row.values()):
            return await in_thread(self.response, request, rows)
        return self.response(request, rows)

    def say_last(self, request: Request, response: Any) -> None:
        """Send a response with FINAL. Blocks; where it can't be sent, the caller hears so."""
        try:
            request.sender.send(response, final=True)
        except Exception as error:  # such as no memory to share for so large an answer
            request.sender.send(self.failure(request, error), final=True)

    @contextlib.contextmanager
    def probing(self) -> Iterator[None]:
        """While a row is computed for a deep canary: the pulse then says how that went. A refusal is no failure."""
        try:
            yield
        except Exception as error:
            self._heart.probed(code_of(error) not in (None, pb_utils.TritonError.INTERNAL))
            raise
        self._heart.probed(True)

    def failure(self, request: Request, error: BaseException) -> Any:
        """The error response. An unexpected error is logged by type and place: its words may be the caller's."""
        code, message = code_of(error), str(error) or "the request was cancelled"
        if code is None:
            where = "".join(traceback.format_tb(error.__traceback__))
            number = request.raw.request_id() or "without id"
            pb_utils.Logger.log_error(f"model '{self._model}', request {number}: {type(error).__name__}\n{where}")
            code = pb_utils.TritonError.INTERNAL
            message = f"model '{self._model}' failed ({type(error).__name__}); the server's log says where"
            if is_device_error(error):
                self._heart.end_process(f"its device fails ({type(error).__name__})")
        if request.wants_status:
            message = f"{code.name}: {message}"
        if request.wants_error_as_output:
            words = ERROR + shorten(message).encode()
            return pb_utils.InferenceResponse([pb_utils.Tensor(request.outputs[0], np.array([[words]], np.object_))])
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(shorten(message), code))


def code_of(error: BaseException) -> Any:
    """Triton's status code for an error that is written for the caller; None for all others."""
    if isinstance(error, CallFailed):
        return error.code
    codes = {
        InvalidInput: pb_utils.TritonError.INVALID_ARG,
        Unavailable: pb_utils.TritonError.UNAVAILABLE,
        NotServed: pb_utils.TritonError.UNSUPPORTED,
        asyncio.CancelledError: pb_utils.TritonError.CANCELLED,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), None)


def is_device_error(error: BaseException) -> bool:
    """Whether the device is lost to this process. Want of memory passes; what is said here does not."""
    if type(error).__name__ == "OutOfMemoryError":
        return False
    return type(error).__name__ == "AcceleratorError" or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _DEVICE_ERRORS)
    )


def shorten(message: str) -> str:
    """A sentence of at most LONGEST bytes, cut in its middle: the end says what is right, or when to try again."""
    encoded = message.encode()
    if len(encoded) <= LONGEST:
        return message
    half = LONGEST // 2 - 4
    return f"{encoded[:half].decode('utf-8', 'ignore')} … {encoded[-half:].decode('utf-8', 'ignore')}"
