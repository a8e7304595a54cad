"""Between Triton and the models: requests in, function calls, responses out. The only module that knows `pb_utils`.

A `model.py` makes one `Model` and chooses how its requests are run:

    run_each       one call per request; the answer is returned               (decoders)
    run_batched    one call for all rows that the batcher brought together    (networks)
    answer_later   one coroutine per request; `execute` returns at once       (faces, pipelines)
    stream         one asynchronous generator per request, many responses     (decoupled models)

Whatever happens, every request is answered: a `TritoneError` becomes its status code with its own sentence, anything
else becomes INTERNAL and one log entry without the caller's data, and a decoupled request always gets its FINAL flag.
The model's functions are called with plain values, named as the tensors: text as str, one number as a numpy scalar,
other tensors as numpy arrays without the batch axis; an optional input that was not sent is not passed. They return
a dict of the same kinds; a value may be a function, which is called only if the caller asked for that output.
"""

import asyncio
import contextlib
import functools
import inspect
import json
import threading
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from pydantic import BaseModel, ConfigDict, ValidationError

from tritone.errors import InvalidInput, NotServed, TritoneError, Unavailable
from tritone.in_flight import InFlight

Row = dict[str, Any]
Item = TypeVar("Item")
S = TypeVar("S", bound="Settings")

# Endings of the STRING tensors that hold encoded media and not text.
BINARY = ("_bytes", "_wav", "_png")
# How often `publish` looks. Each changed value is a message to the server's process: too dear for every token.
PUBLISH_S = 0.25
# The parameter that marks a BLS call. Server 2.51 drops the status code of a child's error on its way to the parent:
# for such a call the child writes it in front of its sentence.
_CALL = "bls"


class Settings(BaseModel):
    """The `parameters` of a config.pbtxt. Subclasses name each key and its type; any other key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def part(self, kind: Callable[..., Item]) -> Item:
        """The settings that a dataclass names, as that dataclass."""
        return kind(**{key: getattr(self, key) for key in inspect.signature(kind).parameters})


class CallFailed(TritoneError):
    """A model called over BLS refused or failed; it carries the status code, so that the caller sees the cause."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code

    @property
    def refused(self) -> bool:
        """Whether the other model found fault with what it was asked, and not with itself."""
        return self.code in (pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.UNSUPPORTED)


@dataclass
class _Job:
    """A request on its way: the rows to infer, and its response as soon as there is one."""

    request: Any
    rows: list[Any] = field(default_factory=list)
    response: Any = None


class _Sender:
    """A response sender that threads may share: one call at a time, and none after FINAL, or server 2.51 dies."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._finished = False

    def send(self, response: Any = None, *, final: bool = False) -> None:
        """Send a response, FINAL, or both at once."""
        flags = {"flags": pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL} if final else {}
        with self._lock:
            self._finished = final
            self._sender.send(**({"response": response} if response is not None else {}), **flags)

    def is_cancelled(self) -> bool:
        """Whether the caller has left."""
        with self._lock:
            return not self._finished and bool(self._sender.is_cancelled())


_Answer = Callable[[Any, list[Row], _Sender], Coroutine[Any, Any, None]]


class Model:
    """The Triton side of one model instance: its name, device, settings and tensors."""

    def __init__(self, args: dict[str, str]) -> None:
        self.config: dict[str, Any] = json.loads(args["model_config"])
        self.name = args["model_name"]
        self.device = f"cuda:{args['model_instance_device_id']}" if args["model_instance_kind"] == "GPU" else "cpu"
        self._inputs = {tensor["name"]: _is_one_value(tensor) for tensor in self.config["input"]}
        self._outputs = {tensor["name"]: tensor["data_type"] for tensor in self.config["output"]}
        self._in_flight = InFlight()

    def settings(self, schema: type[S]) -> S:
        """The config's parameters as `schema`.

        Raises: TritonModelException: naming each unknown, missing or malformed key.
        """
        # Keys in capitals are Triton's own, such as FORCE_CPU_ONLY_INPUT_TENSORS; "calls" is for `tritone serve`.
        given = {k: v["string_value"] for k, v in self.config.get("parameters", {}).items() if not k.isupper()}
        given.pop("calls", None)
        try:
            return schema.model_validate(given)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
            raise pb_utils.TritonModelException(f"parameters of model '{self.name}': {faults}") from error

    def log(self, message: str) -> None:
        """Write a line into the server's log."""
        pb_utils.Logger.log_info(f"model '{self.name}': {message}")

    def publish(self, measure: Callable[[], dict[str, tuple[str, float]]]) -> None:
        """Show numbers on the server's metrics page, as they are every PUBLISH_S, with the label `model`.

        Args:
            measure: {name: (description, value)}; a name that ends with "_total" is a counter, others are gauges.
        """
        families = {
            name: pb_utils.MetricFamily(
                name=name,
                description=description,
                kind=pb_utils.MetricFamily.COUNTER if name.endswith("_total") else pb_utils.MetricFamily.GAUGE,
            )
            for name, (description, _) in measure().items()
        }
        metrics = {name: family.Metric(labels={"model": self.name}) for name, family in families.items()}
        shown = dict.fromkeys(metrics, 0.0)

        def repeat() -> None:
            while families:  # a family must outlive its metrics
                for name, (_, value) in measure().items():
                    if value != shown[name]:
                        metrics[name].increment(value - shown[name])
                        shown[name] = value
                time.sleep(PUBLISH_S)

        threading.Thread(target=repeat, name="publish", daemon=True).start()

    # ---- answers that are returned

    def run_each(self, requests: Sequence[Any], infer: Callable[..., Row]) -> list[Any]:
        """Call `infer(**inputs)` for each row of each request; a failure stays with its request."""
        jobs = [self._job(request, lambda **row: row) for request in requests]
        for job in jobs:
            self._infer([job], lambda rows: [infer(**row) for row in rows])
        return [job.response for job in jobs]

    def run_batched(
        self, requests: Sequence[Any], prepare: Callable[..., Item], infer: Callable[[list[Item]], list[Row]]
    ) -> list[Any]:
        """Call `infer` once with the rows of all requests, each made ready by `prepare(**inputs)`.

        A row that `prepare` refuses fails its request alone. Where `infer` fails, every request is run again by
        itself, so that only the one at fault fails.
        """
        jobs = [self._job(request, prepare) for request in requests]
        self._infer(jobs, infer)
        return [job.response for job in jobs]

    def _job(self, request: Any, prepare: Callable[..., Any]) -> _Job:
        """The request with its rows prepared, or already answered."""
        job = _Job(request, response=self._control(request))
        if job.response is None:
            try:
                job.rows = [prepare(**row) for row in self._rows(request)]
            except Exception as error:
                job.response = self._failure(request, error)
        return job

    def _infer(self, jobs: list[_Job], infer: Callable[[list[Any]], list[Row]]) -> None:
        """Answer the jobs that are still open: with one call, or one by one if that fails."""
        jobs = [job for job in jobs if job.response is None]
        try:
            outputs = iter(infer([row for job in jobs for row in job.rows]) if jobs else ())
            for job in jobs:
                job.response = self._response(job.request, [next(outputs) for _ in job.rows])
        except Exception as error:
            waiting = [job for job in jobs if job.response is None]
            if len(jobs) == 1:
                jobs[0].response = self._failure(jobs[0].request, error)
            for job in waiting if len(jobs) > 1 else ():
                self._infer([job], infer)

    # ---- answers that come later

    def answer_later(self, requests: Sequence[Any], infer: Callable[..., Awaitable[Row]], limit: int) -> None:
        """Run `await infer(**inputs)` for each request on the model's event loop and answer when it is done.

        More than `limit` requests at a time are refused at once. A caller who leaves cancels the coroutine.
        """

        async def answer(request: Any, rows: list[Row], sender: _Sender) -> None:
            sender.send(self._response(request, [await infer(**row) for row in rows]), final=True)

        self._start(requests, answer, limit)

    def stream(self, requests: Sequence[Any], generate: Callable[..., AsyncIterator[Row]], limit: int) -> None:
        """Send a response for each row that `generate(**inputs)` yields, then FINAL; limits as in `answer_later`."""

        async def answer(request: Any, rows: list[Row], sender: _Sender) -> None:
            for row in rows:
                async with contextlib.aclosing(generate(**row)) as outputs:  # type: ignore[type-var]
                    async for output in outputs:
                        sender.send(self._response(request, [output]))
            sender.send(final=True)

        self._start(requests, answer, limit)

    def _start(
        self,
        requests: Sequence[Any],
        answer: Callable[[Any, list[Row], _Sender], Coroutine[Any, Any, None]],
        limit: int,
    ) -> None:
        for request in requests:
            # Rows are copied out here: Triton lends a request's memory only until `execute` returns.
            job, sender = self._job(request, lambda **row: row), _Sender(request.get_response_sender())
            if job.response is None and len(self._in_flight) >= limit:
                full = Unavailable(
                    f"model '{self.name}' already has {limit} requests in flight, its limit; try again later"
                )
                job.response = self._failure(request, full)
            if job.response is not None:
                sender.send(job.response, final=True)
                continue
            key = request.request_id()
            self._in_flight.start(
                key if key and key not in self._in_flight else uuid.uuid4().hex,
                functools.partial(answer, request, job.rows, sender),
                lambda error, request=request, sender=sender: sender.send(self._failure(request, error), final=True),  # type: ignore[misc]
                sender.is_cancelled,
            )

    # ---- requests and responses

    def _rows(self, request: Any) -> list[Row]:
        """One dict of plain values per row of the batch axis.

        Raises: InvalidInput: text that is not UTF-8.
        """
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self._inputs}
        columns = {
            name: [_value(name, row, self._inputs[name]) for row in tensor.as_numpy()]
            for name, tensor in tensors.items()
            if tensor is not None
        }
        count = max(map(len, columns.values()), default=1)
        return [{name: values[row] for name, values in columns.items()} for row in range(count)]

    def _control(self, request: Any) -> Any:
        """The answer to a request that is for this layer and not for the model; None for all others."""
        parameters = _parameters(request)
        if "cancel" in parameters:  # a pipeline stops its child, which Triton itself does not
            self._in_flight.cancel(str(parameters["cancel"]))
        elif "canary" not in parameters:  # the watchdog asks whether this process still answers
            return None
        return pb_utils.InferenceResponse([])

    def _response(self, request: Any, rows: list[Row]) -> Any:
        """The outputs that were asked for, all rows stacked along the batch axis."""
        tensors = []
        for name in request.requested_output_names():
            values = [_array(self._outputs[name], row[name]) for row in rows if name in row]
            if len({value.shape for value in values}) > 1:
                raise InvalidInput(f"'{name}' differs in length between the {len(rows)} rows: send one row per request")
            if values:
                tensors.append(pb_utils.Tensor(name, np.stack(values)))
        return pb_utils.InferenceResponse(tensors)

    def _failure(self, request: Any, error: BaseException) -> Any:
        """The error response. An unexpected error is logged by type and place: its words may be the caller's."""
        code, message = _code(error), str(error) or "the request was cancelled"
        if code is None:
            where = "".join(traceback.format_tb(error.__traceback__))
            number = request.request_id() or "without id"
            pb_utils.Logger.log_error(f"model '{self.name}', request {number}: {type(error).__name__}\n{where}")
            code = pb_utils.TritonError.INTERNAL
            message = f"model '{self.name}' failed ({type(error).__name__}); the server's log says where"
        if _CALL in _parameters(request):
            message = f"{code.name}: {message}"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


# ---- calling other models (BLS)


async def call(model: str, inputs: Row, outputs: Sequence[str], **parameters: str | int | bool) -> Row:
    """Ask another model of this server for one row.

    Args:
        inputs: by tensor name: text, bytes, lists of them, or numpy scalars and arrays of the tensor's dtype without
            the batch axis; None is not sent.
        outputs: the tensors wanted.

    Raises: CallFailed: with the other model's own sentence and code.
    """
    number = uuid.uuid4().hex
    try:
        response = await _in_thread(_request(model, inputs, outputs, parameters, number).exec)
    except asyncio.CancelledError:
        _stop(model, inputs, outputs, number)
        raise
    return _read(response)


async def call_stream(model: str, inputs: Row, outputs: Sequence[str]) -> AsyncIterator[Row]:
    """Ask a decoupled model for one row and yield its responses; leaving the iterator stops the other model."""
    number = uuid.uuid4().hex
    responses = await _in_thread(functools.partial(_request(model, inputs, outputs, {}, number).exec, decoupled=True))
    finished = False
    try:
        while (response := await _in_thread(next, responses, None)) is not None:
            if row := _read(response):
                yield row
        finished = True
    finally:
        if not finished:
            _stop(model, inputs, outputs, number, decoupled=True)


def _stop(model: str, inputs: Row, outputs: Sequence[str], number: str, *, decoupled: bool = False) -> None:
    """Triton 24.10 has no way to cancel a child: ask the model itself. It ignores numbers it does not know."""
    stop = _request(model, inputs, outputs, {"cancel": number})
    work = (lambda: list(stop.exec(decoupled=True))) if decoupled else stop.exec
    asyncio.get_running_loop().run_in_executor(None, work)


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """A blocking call on a thread of the event loop's own pool."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


def _request(model: str, inputs: Row, outputs: Sequence[str], parameters: Row, number: str = "") -> Any:
    tensors = [pb_utils.Tensor(name, _batch_of_one(value)) for name, value in inputs.items() if value is not None]
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=tensors,
        request_id=number,
        parameters={_CALL: True, **parameters},
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
    )


def _read(response: Any) -> Row:
    if response.has_error():
        error = response.error()
        word, _, sentence = error.message().partition(": ")
        code = getattr(pb_utils.TritonError, word, None) if word.isupper() else None
        raise CallFailed(sentence, code) if code else CallFailed(error.message(), error.code())
    return {tensor.name(): tensor.as_numpy()[0] for tensor in response.output_tensors()}


def _parameters(request: Any) -> dict[str, Any]:
    return dict(json.loads(request.parameters() or "{}"))


def text(value: npt.NDArray[Any]) -> str:
    """The string in a STRING[1] output of `call`."""
    return str(value[0], "utf-8")


# ---- values and arrays


def _is_one_value(tensor: dict[str, Any]) -> bool:
    return [int(dim) for dim in tensor["dims"]] == [1]


def _value(name: str, row: npt.NDArray[Any], is_one_value: bool) -> Any:
    """A tensor's row as the model's function gets it; arrays are copied."""
    if row.dtype != np.object_:
        return row[0] if is_one_value else row.copy()
    values = list(row) if name.endswith(BINARY) else [_decode(name, item) for item in row]
    return values[0] if is_one_value else values


def _decode(name: str, item: bytes) -> str:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"'{name}' is not UTF-8: byte {item[error.start]:#04x} at offset {error.start}") from None


def _array(data_type: str, value: Any) -> npt.NDArray[Any]:
    """An output's row as Triton wants it, at least one-dimensional."""
    value = value() if callable(value) else value
    if data_type != "TYPE_STRING":
        numbers: npt.NDArray[Any] = np.asarray(value, pb_utils.triton_string_to_numpy(data_type))
        return numbers if numbers.ndim else numbers[None]
    items = [value] if isinstance(value, (str, bytes)) else value
    array: npt.NDArray[Any] = np.array([item.encode() if isinstance(item, str) else item for item in items], np.object_)
    return array


def _batch_of_one(value: Any) -> npt.NDArray[Any]:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value[None])
    if isinstance(value, np.generic):
        return np.array([[value]])
    return _array("TYPE_STRING", value)[None]


def _code(error: BaseException) -> Any:
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
