"""Calling other models of this server (Triton's business logic scripting): rows out, rows back, and cancelling.

A call is given up when the process that works on it is gone, when its deadline has passed, and when nobody waits for
it any longer; then that model is told to stop, before its first response or after.
"""

import asyncio
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from tritone import pulse
from tritone.errors import TritoneError, Unavailable
from tritone.serving import cancelling, request
from tritone.serving.tensors import batch_of_one, copied, from_torch
from tritone.serving.threads import Hopeless, WaitingThreads

if TYPE_CHECKING:
    import torch

Row = dict[str, Any]
Result = TypeVar("Result")

# Calls that one process may have under way; each holds one of the threads that the server has for this process
# (thread-pool-size), which needs some more for responses.
CALLING_THREADS = 64
# The server now and then (once in a thousand, among many refusals) hands on a stream's end without what came before it.
# No model of ours answers with nothing, so such a call is made again.
ASKED = 3
RELOAD_S = 5.0  # when to try again while a model is being loaded anew
# The server's words for a model whose process has died, or that is being loaded anew.
_AWAY = (
    "is not healthy",
    "is not ready",
    "not at ready state",
    "no available versions",
    "unknown model",
    "not found",
    "not ready",
)

# Of the request that a coroutine works for; set by `tritone.serving`.
deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)
caller: ContextVar[str] = ContextVar("caller", default="")
calls = WaitingThreads("calls of other models", CALLING_THREADS)


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

    Raises:
        CallFailed: with the other model's own sentence and code.
        Unavailable: the other model is being loaded anew.
    """
    call_ = _Call(model, _one_row(inputs), outputs, parameters)
    return _read(await call_.wait(call_.request.exec), model)


async def call_rows(
    model: str, inputs: Mapping[str, "torch.Tensor | list[str]"], outputs: Sequence[str], device: str = "cpu"
) -> dict[str, "torch.Tensor"]:
    """Ask another model of this server for any number of rows.

    Args:
        inputs: by tensor name: tensors with the batch axis, which stay on a GPU if they are there, or one text a row.
        device: where the outputs are wanted, "cpu" or "cuda:0".

    Raises: as `call`.
    """
    tensors = [
        pb_utils.Tensor(name, np.array([[text.encode()] for text in value], np.object_))
        if isinstance(value, list)
        else from_torch(name, value)
        for name, value in inputs.items()
    ]
    call_ = _Call(model, tensors, outputs, {}, device)

    def exchange() -> dict[str, "torch.Tensor"]:
        response = call_.request.exec()
        _check(model, response)
        # Copied: the memory is the other model's, and this process may keep its tensors for as long as it likes.
        return {tensor.name(): copied(tensor, device) for tensor in response.output_tensors()}

    return await call_.wait(exchange)


async def call_stream(model: str, inputs: Row, outputs: Sequence[str]) -> AsyncIterator[Row]:
    """Ask a decoupled model for one row and yield its responses; leaving the iterator stops the other model.

    Raises: as `call`; Unavailable also where the model's answer was lost on its way.
    """
    for _ in range(ASKED):
        answered = False
        async with aclosing(_ask(model, inputs, outputs)) as rows:
            async for row in rows:
                answered = True
                yield row
        if answered:
            return
    raise Unavailable(f"model '{model}' ended its answer without a word", retry_after_s=1.0)


async def _ask(model: str, inputs: Row, outputs: Sequence[str]) -> AsyncGenerator[Row, None]:
    call_ = _Call(model, _one_row(inputs), outputs, {request.ERROR_AS_OUTPUT: True})
    loop = asyncio.get_running_loop()
    responses: asyncio.Queue[Any] = asyncio.Queue()

    def read() -> None:
        """All of them, though nobody may wait any longer: what is left of a stream that is dropped is never freed."""
        for response in call_.request.exec(decoupled=True):
            loop.call_soon_threadsafe(responses.put_nowait, response)

    reading = asyncio.ensure_future(call_.wait(read))
    reading.add_done_callback(lambda _: responses.put_nowait(None))
    try:
        while (response := await responses.get()) is not None:
            if row := _read(response, model):
                _check_outputs(model, row)
                yield row
        await reading
    except (GeneratorExit, asyncio.CancelledError):
        reading.cancel()  # which stops the other model
        raise


class _Call:
    """A call of another model that is under way."""

    def __init__(
        self, model: str, tensors: list[Any], outputs: Sequence[str], parameters: Row, device: str = "cpu"
    ) -> None:
        self.model, self._pulses = model, pulse.folder()
        self._number = uuid.uuid4().hex
        self._processes: frozenset[str] | None = None
        inside: Row = {request.TOKEN: pulse.token(self._pulses), request.STATUS: True}
        if caller.get():
            inside[request.CALLER] = caller.get()
        if (until := deadline.get()) < math.inf:
            inside[request.DEADLINE] = int(until * 1e6)
        self.request = pb_utils.InferenceRequest(
            model_name=model,
            requested_output_names=list(outputs),
            inputs=tensors,
            request_id=self._number,
            parameters=inside | parameters,
            preferred_memory=_memory(device),
        )

    async def wait(self, exchange: Callable[[], Result]) -> Result:
        """The result of a blocking exchange with the model; whatever ends the waiting early stops the model's work.

        Raises: Unavailable: the process that worked on it is gone.
        """
        try:
            return await calls.run(exchange, hopeless=self._hopeless)
        except Hopeless as error:
            raise Unavailable(str(error), RELOAD_S) from None
        except asyncio.CancelledError:
            self.stop()
            raise

    def stop(self) -> None:
        """Tell the model that nobody waits any longer."""
        cancelling.cancel(self._pulses, self.model, self._number)

    def _hopeless(self) -> str:
        """The call may be with any of the model's processes: there is hope while one of them lives.

        They are looked up at the first asking and not at the start: most calls end before, and a new process takes
        longer to start than that.
        """
        if self._processes is None:
            self._processes = pulse.processes(self._pulses, self.model)
        if not self._processes or any(not pulse.is_dead(self._pulses, name) for name in self._processes):
            return ""
        return f"model '{self.model}' has ended in the middle of the work and is loaded anew"


def _one_row(inputs: Row) -> list[Any]:
    return [pb_utils.Tensor(name, batch_of_one(value)) for name, value in inputs.items() if value is not None]


def _memory(device: str) -> Any:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_GPU, int(index or 0))
    return pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU)


def _check(model: str, response: Any) -> None:
    if response.has_error():
        raise _error(model, response.error().message(), response.error().code())


def _error(model: str, message: str, otherwise: Any = None) -> TritoneError:
    """What a model says that failed, with the code in front of its sentence, or `otherwise`."""
    word, _, sentence = message.partition(": ")
    code = getattr(pb_utils.TritonError, word, None) if word.isupper() else None
    if code:
        return CallFailed(sentence, code)
    # The server's own words: it never came to the model.
    if any(words in message.lower() for words in _AWAY):
        return Unavailable(f"model '{model}' is being loaded anew", RELOAD_S)
    return CallFailed(message, otherwise)


def _read(response: Any, model: str) -> Row:
    _check(model, response)
    return {tensor.name(): tensor.as_numpy()[0] for tensor in response.output_tensors()}


def _check_outputs(model: str, row: Row) -> None:
    """Raises: what stands in the place of an output, see `request.ERROR_AS_OUTPUT`."""
    for value in row.values():
        if value.dtype == np.object_ and value.size == 1 and value.flat[0].startswith(request.ERROR):
            raise _error(model, value.flat[0].removeprefix(request.ERROR).decode())


def text(value: npt.NDArray[Any]) -> str:
    """The string in a STRING[1] output of `call`."""
    return str(value[0], "utf-8")
