"""Between Triton and the models: requests in, function calls, responses out.

A `model.py` makes one `Model` and chooses how its requests are run:

    run_each       one call per request; the answer is returned               (decoders)
    run_batched    one call for all rows that the batcher brought together    (networks)
    answer_as_done the same, each request answered as soon as its rows are done
    run_tensors    like run_batched with torch tensors that stay on the GPU   (networks called by pipelines)
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
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import triton_python_backend_utils as pb_utils
from pydantic import BaseModel, ConfigDict, ValidationError

from tritone.bls import CALL, CallFailed, Row
from tritone.errors import InvalidInput, NotServed, Unavailable
from tritone.in_flight import InFlight
from tritone.tensors import array_of, from_torch, to_torch, value_of

if TYPE_CHECKING:
    import torch  # heavy, and of use to networks alone

Item = TypeVar("Item")
S = TypeVar("S", bound="Settings")

# How often `publish` looks. Each changed value is a message to the server's process: too dear for every token.
PUBLISH_S = 0.25


class Settings(BaseModel):
    """The `parameters` of a config.pbtxt. Subclasses name each key and its type; any other key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def part(self, kind: Callable[..., Item]) -> Item:
        """The settings that a dataclass names, as that dataclass."""
        return kind(**{key: getattr(self, key) for key in inspect.signature(kind).parameters})


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


@dataclass
class _Job:
    """A request on its way: the rows to infer, and its response as soon as there is one."""

    request: Any
    rows: list[Any] = field(default_factory=list)
    response: Any = None
    sender: _Sender | None = None  # where responses are sent and not returned

    def answer(self, response: Any) -> None:
        """The one and only response."""
        self.response = response
        if self.sender:
            self.sender.send(response, final=True)


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
        given = {k: v.get("string_value", "") for k, v in self.config.get("parameters", {}).items() if not k.isupper()}
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

    def _job(self, request: Any, prepare: Callable[..., Any], sender: _Sender | None = None) -> _Job:
        """The request with its rows prepared, or already answered."""
        job = _Job(request, sender=sender)
        if (response := self._control(request)) is not None:
            job.answer(response)
        else:
            try:
                job.rows = [prepare(**row) for row in self._rows(request)]
            except Exception as error:
                job.answer(self._failure(request, error))
        return job

    def _infer(self, jobs: list[_Job], infer: Callable[[list[Any]], list[Row]]) -> None:
        """Answer the jobs that are still open with the rows of one call."""

        def together(jobs: list[_Job]) -> None:
            outputs = iter(infer([row for job in jobs for row in job.rows]))
            for job in jobs:
                job.answer(self._response(job.request, [next(outputs) for _ in job.rows]))

        self._answer(jobs, together)

    def _answer(self, jobs: list[_Job], together: Callable[[list[_Job]], None]) -> None:
        """Have the jobs that are still open answered in one go; where that fails, each by itself."""
        jobs = [job for job in jobs if job.response is None]
        try:
            if jobs:
                together(jobs)
        except Exception as error:
            if len(jobs) == 1 and jobs[0].response is None:
                jobs[0].answer(self._failure(jobs[0].request, error))
            for job in jobs if len(jobs) > 1 else ():
                self._answer([job], together)

    def run_tensors(self, requests: Sequence[Any], infer: Callable[..., Mapping[str, "torch.Tensor"]]) -> list[Any]:
        """Call `infer(**inputs)` once with torch tensors that hold all rows of all requests, on the model's device.

        With the parameter FORCE_CPU_ONLY_INPUT_TENSORS "no", what is on the GPU already is not moved; on the CPU the
        memory of a lone request is lent and not copied. Where `infer` fails, every request is run again by itself.
        """
        import torch

        def together(jobs: list[_Job]) -> None:
            batches = [
                {tensor.name(): to_torch(tensor, self.device) for tensor in job.request.inputs()} for job in jobs
            ]
            names = batches[0]
            joined = {name: torch.cat([batch[name] for batch in batches]) for name in names} if jobs[1:] else names
            outputs = infer(**joined)
            counts = [len(next(iter(batch.values()))) for batch in batches]
            parts = {name: torch.split(tensor, counts) for name, tensor in outputs.items()}
            for index, job in enumerate(jobs):
                wanted = [name for name in job.request.requested_output_names() if name in parts]
                job.answer(pb_utils.InferenceResponse([from_torch(name, parts[name][index]) for name in wanted]))

        jobs = [_Job(request, response=self._control(request)) for request in requests]
        self._answer(jobs, together)
        return [job.response for job in jobs]

    # ---- answers that come later

    def answer_as_done(
        self,
        requests: Sequence[Any],
        prepare: Callable[..., Item],
        infer: Callable[[list[Item]], Iterator[tuple[int, Row]]],
    ) -> None:
        """Like `run_batched`, but `infer` yields (place of a row, its outputs) in any order.

        A request is answered as soon as all its rows are there: a short one never waits for a long neighbour.
        """

        def together(jobs: list[_Job]) -> None:
            owners = [(job, row) for job in jobs for row in range(len(job.rows))]
            outputs: dict[int, dict[int, Row]] = {id(job): {} for job in jobs}
            for place, output in infer([job.rows[row] for job, row in owners]):
                job, row = owners[place]
                outputs[id(job)][row] = output
                if len(outputs[id(job)]) == len(job.rows):
                    job.answer(self._response(job.request, [outputs[id(job)][r] for r in range(len(job.rows))]))
            if left := sum(job.response is None for job in jobs):
                raise RuntimeError(f"{left} requests were left without all their rows")

        self._answer(
            [self._job(request, prepare, _Sender(request.get_response_sender())) for request in requests], together
        )

    def answer_later(self, requests: Sequence[Any], infer: Callable[..., Awaitable[Row]], limit: int) -> None:
        """Run `await infer(**inputs)` for each request on the model's event loop and answer when it is done.

        More than `limit` requests at a time are refused at once. A caller who leaves cancels the coroutine.
        """

        async def answer(request: Any, rows: list[Row], sender: _Sender) -> None:
            sender.send(await self._response_later(request, [await infer(**row) for row in rows]), final=True)

        self._start(requests, answer, limit)

    def stream(self, requests: Sequence[Any], generate: Callable[..., AsyncIterator[Row]], limit: int) -> None:
        """Send a response for each row that `generate(**inputs)` yields, then FINAL; limits as in `answer_later`.

        A row with none of the outputs that the caller asked for is not sent.
        """

        async def answer(request: Any, rows: list[Row], sender: _Sender) -> None:
            wanted = set(request.requested_output_names())
            for row in rows:
                async with contextlib.aclosing(generate(**row)) as outputs:  # type: ignore[type-var]
                    async for output in outputs:
                        if not wanted.isdisjoint(output):
                            sender.send(await self._response_later(request, [output]))
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
            name: [value_of(name, row, self._inputs[name]) for row in tensor.as_numpy()]
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
            values = [array_of(self._outputs[name], row[name]) for row in rows if name in row]
            if len({value.shape for value in values}) > 1:
                raise InvalidInput(f"'{name}' differs in length between the {len(rows)} rows: send one row per request")
            if values:
                tensors.append(pb_utils.Tensor(name, np.stack(values)))
        return pb_utils.InferenceResponse(tensors)

    async def _response_later(self, request: Any, rows: list[Row]) -> Any:
        """`_response`, on a thread where a value is still to be made, such as a PNG file."""
        if any(callable(value) for row in rows for value in row.values()):
            return await asyncio.to_thread(self._response, request, rows)
        return self._response(request, rows)

    def _failure(self, request: Any, error: BaseException) -> Any:
        """The error response. An unexpected error is logged by type and place: its words may be the caller's."""
        code, message = _code(error), str(error) or "the request was cancelled"
        if code is None:
            where = "".join(traceback.format_tb(error.__traceback__))
            number = request.request_id() or "without id"
            pb_utils.Logger.log_error(f"model '{self.name}', request {number}: {type(error).__name__}\n{where}")
            code = pb_utils.TritonError.INTERNAL
            message = f"model '{self.name}' failed ({type(error).__name__}); the server's log says where"
        if CALL in _parameters(request):
            message = f"{code.name}: {message}"
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def _is_one_value(tensor: dict[str, Any]) -> bool:
    return [int(dim) for dim in tensor["dims"]] == [1]


def _parameters(request: Any) -> dict[str, Any]:
    return dict(json.loads(request.parameters() or "{}"))


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
