"""Calling other models of this server (Triton's business logic scripting): rows out, rows back, and cancelling."""

import asyncio
import functools
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from tritone.errors import TritoneError
from tritone.tensors import batch_of_one, from_torch, to_torch

if TYPE_CHECKING:
    import torch

Row = dict[str, Any]
# The parameter that marks a BLS call. Server 2.51 drops the status code of a child's error on its way to the parent:
# for such a call the child writes it in front of its sentence.
CALL = "bls"


class CallFailed(TritoneError):
    """A model called over BLS refused or failed; it carries the status code, so that the caller sees the cause."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code

    @property
    def refused(self) -> bool:
        """Whether the other model found fault with what it was asked, and not with itself."""
        return self.code in (pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.UNSUPPORTED)


async def call(model: str, inputs: Row, outputs: Sequence[str], **parameters: str | int | bool) -> Row:
    """Ask another model of this server for one row.

    Args:
        inputs: by tensor name: text, bytes, lists of them, or numpy scalars and arrays of the tensor's dtype without
            the batch axis; None is not sent.
        outputs: the tensors wanted.

    Raises: CallFailed: with the other model's own sentence and code.
    """
    tensors, number = _one_row(inputs), uuid.uuid4().hex
    try:
        response = await _in_thread(_request(model, tensors, outputs, parameters, number).exec)
    except asyncio.CancelledError:
        _stop(model, tensors, outputs, number)
        raise
    return _read(response)


async def call_rows(
    model: str, inputs: Mapping[str, "torch.Tensor | list[str]"], outputs: Sequence[str], device: str = "cpu"
) -> dict[str, "torch.Tensor"]:
    """Ask another model of this server for any number of rows.

    Args:
        inputs: by tensor name: tensors with the batch axis, which stay on a GPU if they are there, or one text a row.
        device: where the outputs are wanted, "cpu" or "cuda:0".

    Raises: CallFailed: with the other model's own sentence and code.
    """
    tensors = [
        pb_utils.Tensor(name, np.array([[text.encode()] for text in value], np.object_))
        if isinstance(value, list)
        else from_torch(name, value)
        for name, value in inputs.items()
    ]

    def exchange() -> dict[str, "torch.Tensor"]:
        response = _request(model, tensors, outputs, {}, device=device).exec()
        _check(response)
        # Copied: the memory is the other model's, and this process may keep its tensors for as long as it likes.
        return {tensor.name(): to_torch(tensor, device).clone() for tensor in response.output_tensors()}

    return await _in_thread(exchange)  # type: ignore[no-any-return]


async def call_stream(model: str, inputs: Row, outputs: Sequence[str]) -> AsyncIterator[Row]:
    """Ask a decoupled model for one row and yield its responses; leaving the iterator stops the other model."""
    number = uuid.uuid4().hex
    tensors = _one_row(inputs)
    responses = await _in_thread(functools.partial(_request(model, tensors, outputs, {}, number).exec, decoupled=True))
    finished = False
    try:
        while (response := await _in_thread(next, responses, None)) is not None:
            if row := _read(response):
                yield row
        finished = True
    finally:
        if not finished:
            _stop(model, tensors, outputs, number, decoupled=True)


def _stop(model: str, tensors: list[Any], outputs: Sequence[str], number: str, *, decoupled: bool = False) -> None:
    """Triton 24.10 has no way to cancel a child: ask the model itself. It ignores numbers it does not know."""
    stop = _request(model, tensors, outputs, {"cancel": number})
    work = (lambda: list(stop.exec(decoupled=True))) if decoupled else stop.exec
    asyncio.get_running_loop().run_in_executor(None, work)


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """A blocking call on a thread of the event loop's own pool."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


def _one_row(inputs: Row) -> list[Any]:
    return [pb_utils.Tensor(name, batch_of_one(value)) for name, value in inputs.items() if value is not None]


def _request(
    model: str, tensors: list[Any], outputs: Sequence[str], parameters: Row, number: str = "", device: str = "cpu"
) -> Any:
    kind, _, index = device.partition(":")
    memory = (
        pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_GPU, int(index or 0))
        if kind == "cuda"
        else pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU)
    )
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=tensors,
        request_id=number,
        parameters={CALL: True, **parameters},
        preferred_memory=memory,
    )


def _check(response: Any) -> None:
    if response.has_error():
        error = response.error()
        word, _, sentence = error.message().partition(": ")
        code = getattr(pb_utils.TritonError, word, None) if word.isupper() else None
        raise CallFailed(sentence, code) if code else CallFailed(error.message(), error.code())


def _read(response: Any) -> Row:
    _check(response)
    return {tensor.name(): tensor.as_numpy()[0] for tensor in response.output_tensors()}


def text(value: npt.NDArray[Any]) -> str:
    """The string in a STRING[1] output of `call`."""
    return str(value[0], "utf-8")
