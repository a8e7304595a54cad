"""Between Triton and the models: requests in, function calls, responses out.

A `model.py` makes one `Model` and chooses how its requests are run:

    run_each       one call per request; the answer is returned               (quick work)
    run_batched    one call for all rows that the batcher brought together    (networks)
    answer_as_done the same, each request answered as soon as its rows are done
    run_tensors    like run_batched with torch tensors that stay on the GPU   (networks called by pipelines)
    answer_later   one coroutine per request; `execute` returns at once       (faces, pipelines, what queues itself)
    stream         one asynchronous generator per request, many responses     (decoupled models)

All of them lead a request the same way (docs/request.md): it is received, let in or refused at the model's door,
prepared, computed and answered; or cancelled; or failed. Whatever happens, it is answered: a `TritoneError` becomes its
status code with its own sentence, anything else becomes INTERNAL and one log entry without the caller's data, and a
decoupled request always gets its FINAL flag.

The model's functions are called with plain values, named as the tensors: text as str, one number as a numpy scalar,
other tensors as numpy arrays without the batch axis; an optional input that was not sent is not passed. They return
a dict of the same kinds; a value may be a function, which is called only if the caller asked for that output.
"""

import asyncio
import contextlib
import inspect
import json
import math
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import triton_python_backend_utils as pb_utils

from tritone import pulse
from tritone.errors import Unavailable
from tritone.priority import process_steps_back
from tritone.serving import bls, placing
from tritone.serving.admission import Pace, Ticket, Work
from tritone.serving.answers import Answers
from tritone.serving.bls import Row
from tritone.serving.cancelling import Cancellations
from tritone.serving.entrance import ACCESS, PIPELINES, DoorSettings, Entrance, Settings, read_settings
from tritone.serving.in_flight import InFlight
from tritone.serving.in_flight import Work as Task
from tritone.serving.metrics import Measure, Publisher
from tritone.serving.request import DEEP, Request
from tritone.serving.tensors import from_torch, to_torch
from tritone.serving.threads import Hopeless, WaitingThreads, in_thread

if TYPE_CHECKING:
    import torch  # heavy, and of use to networks alone

Item = TypeVar("Item")
S = TypeVar("S", bound="Settings")

SENDING_THREADS = 16


class Model:
    """The Triton side of one model instance: its name, device, settings and tensors, its door and its pulse."""

    def __init__(self, args: dict[str, str]) -> None:
        self.config: dict[str, Any] = json.loads(args["model_config"])
        self.name, self._instance = args["model_name"], args["model_instance_name"]
        self._parameters = {k: v.get("string_value", "") for k, v in self.config.get("parameters", {}).items()}
        self.device = placing.device_of(args, self._parameters)
        self._decoupled = bool(self.config.get("model_transaction_policy", {}).get("decoupled"))
        self.heart = pulse.Heart(self.name)
        self._answers = Answers(self.name, self.config["output"], self.heart)
        self._pace = Pace()
        self._probe: Callable[[], Any] = lambda: None
        cancelled = Cancellations(self.heart, lambda number: self._in_flight.cancel(number))
        self.heart.faults += [cancelled.fault, bls.calls.fault]
        self._entrance = Entrance(self.name, self.config, self._parameters, self.heart, cancelled)

    def settings(self, schema: type[S]) -> S:
        """The config's parameters as `schema`.

        Raises: TritonModelException: naming each unknown, missing or malformed key.
        """
        return read_settings(schema, self.name, self._parameters)

    def open_door(self, settings: DoorSettings, work: Work = lambda **_: 1.0) -> None:
        """Let requests in as `tritone.serving.admission.Door` does; `work(**inputs)` measures one, in any unit."""
        self._entrance.open_door(settings, work)

    def open_passage(self, step: str, max_wait_s: float) -> None:
        """Let requests in as `serving.admission.Passage` does: `step` is the model that does the ensemble's work."""
        self._entrance.open_passage(step, max_wait_s)

    def tell(self, **facts: Any) -> None:
        """Say in `catalog` that this model is served and what it offers, in JSON's values; a network says nothing."""
        if self._parameters.get(ACCESS) != PIPELINES:
            self.heart.tell(facts)

    def probe(self, function: Callable[[], Any]) -> None:
        """`function()` computes one real row, or returns a coroutine that does: `tritone serve` asks now and then."""
        self._probe = function

    def watch(self, fault: Callable[[], str]) -> None:
        """`fault()` says why this process must be replaced; "" while nothing is wrong."""
        self.heart.faults.append(fault)

    def log(self, message: str) -> None:
        """Write a line into the server's log."""
        pb_utils.Logger.log_info(f"model '{self.name}': {message}")

    def publish(self, measure: Measure) -> None:
        """Show numbers on the server's metrics page, see `tritone.serving.metrics.Publisher`."""
        self.watch(Publisher(self.name, self._instance, measure).fault)

    # ---- answers that are returned

    def run_each(self, requests: Sequence[Any], infer: Callable[..., Row]) -> list[Any]:
        """Call `infer(**inputs)` for each row of each request; a failure stays with its request."""
        with self.heart.executing():
            return [self._run([raw], dict, lambda rows: [infer(**row) for row in rows])[0] for raw in requests]

    def run_batched(
        self, requests: Sequence[Any], prepare: Callable[..., Item], infer: Callable[[list[Item]], list[Row]]
    ) -> list[Any]:
        """Call `infer` once with the rows of all requests, each made ready by `prepare(**inputs)`.

        A row that `prepare` refuses fails its request alone. Where `infer` fails, every request is run again by
        itself, so that only the one at fault fails.
        """
        with self._computing():
            return self._run(requests, prepare, infer)

    def _run(
        self, raws: Sequence[Any], prepare: Callable[..., Any], infer: Callable[[list[Any]], list[Row]]
    ) -> list[Any]:
        def together(requests: list[Request]) -> None:
            outputs = iter(infer([row for request in requests for row in request.rows]))
            for request in requests:
                rows = self._entrance.with_tickets(request, [next(outputs) for _ in request.rows])
                self._return(request, self._answers.response(request, rows))

        requests = [self._prepared(raw, prepare) for raw in raws]
        self._answer(requests, together)
        return [request.response for request in requests]

    def run_tensors(self, requests: Sequence[Any], infer: Callable[..., Mapping[str, "torch.Tensor"]]) -> list[Any]:
        """Call `infer(**inputs)` once with torch tensors that hold all rows of all requests, on the model's device.

        With the parameter FORCE_CPU_ONLY_INPUT_TENSORS "no", what is on the GPU already is not moved; on the CPU the
        memory of a lone request is lent and not copied. Where `infer` fails, every request is run again by itself.
        """
        import torch

        def together(requests: list[Request]) -> None:
            batches = [{t.name(): to_torch(t, self.device) for t in request.raw.inputs()} for request in requests]
            names = batches[0]
            joined = {name: torch.cat([batch[name] for batch in batches]) for name in names} if requests[1:] else names
            outputs = infer(**joined)
            counts = [len(next(iter(batch.values()))) for batch in batches]
            parts = {name: torch.split(tensor, counts) for name, tensor in outputs.items()}
            for index, request in enumerate(requests):
                wanted = [name for name in request.outputs if name in parts]
                self._return(
                    request, pb_utils.InferenceResponse([from_torch(name, parts[name][index]) for name in wanted])
                )

        with self._computing():
            received = [self._received(raw) for raw in requests]
            self._answer(received, together)
            return [request.response for request in received]

    def answer_as_done(
        self,
        requests: Sequence[Any],
        prepare: Callable[..., Item],
        infer: Callable[[list[Item]], Iterator[tuple[int, Row]]],
    ) -> None:
        """Like `run_batched`, but `infer` yields (place of a row, its outputs) in any order.

        A request is answered as soon as all its rows are there: a short one never waits for a long neighbour.
        """

        def together(requests: list[Request]) -> None:
            owners = [(request, row) for request in requests for row in range(len(request.rows))]
            outputs: dict[int, dict[int, Row]] = {id(request): {} for request in requests}
            for place, output in infer([request.rows[row] for request, row in owners]):
                request, row = owners[place]
                outputs[id(request)][row] = output
                if len(outputs[id(request)]) == len(request.rows):
                    rows = [outputs[id(request)][r] for r in range(len(request.rows))]
                    self._return(request, self._answers.response(request, rows))
            if left := sum(request.response is None for request in requests):
                raise RuntimeError(f"{left} requests were left without all their rows")

        with self._computing():
            self._answer([self._prepared(raw, prepare, by_sender=True) for raw in requests], together)

    def _computing(self) -> contextlib.AbstractContextManager[None]:
        """While a network computes on Triton's thread: its process lets those go first that answer callers."""
        process_steps_back()
        return self.heart.executing()

    # ---- answers that come later

    def answer_later(self, requests: Sequence[Any], infer: Callable[..., Awaitable[Row]]) -> list[Any]:
        """Run `await infer(**inputs)` for each request on the model's event loop and answer when it is done.

        A caller who leaves cancels the coroutine. Returned is what `execute` returns: refusals, and None for the rest.
        """

        async def answer(request: Request) -> None:
            rows = self._entrance.with_tickets(request, [await infer(**row) for row in request.rows])
            await self._send(request, await self._answers.response_later(request, rows), final=True)

        return self._start(requests, answer)

    def stream(self, requests: Sequence[Any], generate: Callable[..., AsyncIterator[Row]]) -> None:
        """Send a response for each row that `generate(**inputs)` yields, then FINAL.

        A row with none of the outputs that the caller asked for is not sent.
        """

        async def answer(request: Request) -> None:
            wanted = set(request.outputs)
            for row in request.rows:
                async with contextlib.aclosing(generate(**row)) as outputs:  # type: ignore[type-var]
                    async for output in outputs:
                        self.heart.progressed()
                        if not wanted.isdisjoint(output):
                            await self._send(request, await self._answers.response_later(request, [output]))
            await self._send(request, final=True)

        self._start(requests, answer)

    def _start(self, raws: Sequence[Any], answer: Callable[[Request], Coroutine[Any, Any, None]]) -> list[Any]:
        with self.heart.executing():
            # Rows are copied out here: Triton lends a request's memory only until `execute` returns.
            requests = [self._received(raw, later=True, by_sender=self._decoupled) for raw in raws]
            for request in requests:
                if request.response is None:
                    self._attempt(request, partial(self._begin, request, answer))
        if all(request.response is None for request in requests):
            self._entrance.give_way()
        return [request.response for request in requests]

    def _begin(self, request: Request, answer: Callable[[Request], Coroutine[Any, Any, None]]) -> None:
        """Let the request in and have it answered on the event loop."""
        if not request.canary:
            request.rows = self._entrance.rows(request)
        ticket = Ticket(self._entrance.door, 0.0)
        try:
            ticket = ticket if request.canary else self._entrance.admit(request)
        except Unavailable:
            if not self._entrance.may_pass_on(request):
                raise
            answer = self._pass_on

        async def run() -> None:
            bls.caller.set(self.heart.name)
            bls.deadline.set(request.deadline)
            try:
                async with asyncio.timeout_at(None if request.deadline == math.inf else request.deadline):
                    await (self._show_life(request) if request.canary else answer(request))
            except TimeoutError:
                raise request.too_late() if time.monotonic() >= request.deadline else RuntimeError from None
            if not request.canary:  # a sign of life is no progress
                ticket.finish()
                self.heart.succeeded()

        async def fail(error: BaseException) -> None:
            await self._send(request, self._answers.failure(request, error), final=True)

        def leave() -> None:
            ticket.leave()
            self._entrance.show()

        self._in_flight.start(request.number or uuid.uuid4().hex, Task(run, fail, request.has_left, leave))
        self._entrance.show()

    async def _pass_on(self, request: Request) -> None:
        """Have a fellow process answer."""
        for row in request.rows:
            answers = bls.call_stream(self.name, row, request.outputs)
            async with contextlib.aclosing(answers) as outputs:  # type: ignore[type-var]
                async for output in outputs:
                    await self._send(request, self._answers.response(request, [output]))
        await self._send(request, final=True)

    async def _show_life(self, request: Request) -> None:
        """The answer to a canary came by the event loop; a deep one computes a row."""
        if request.canary == DEEP:
            with self._answers.probing():
                life = await in_thread(self._probe)
                if inspect.isawaitable(life):
                    await life
        await self._send(request, pb_utils.InferenceResponse([]), final=True)

    async def _send(self, request: Request, response: Any = None, final: bool = False) -> None:
        """Send on a thread, as a caller who is killed meanwhile would keep this one for ever.

        Nobody waits for the last word: what follows it is the end of the request.
        """
        if request.is_abandoned():
            return
        if final:
            self._sends.submit(self._answers.say_last, request, response)
            return
        with contextlib.suppress(Hopeless):
            await self._sends.run(request.sender.send, response, hopeless=lambda: "gone" * request.is_abandoned())

    # ---- what all requests go through

    def _received(self, raw: Any, later: bool = False, by_sender: bool = False) -> Request:
        """The request; answered already if it is a sign of life, or if nobody may or will have its answer.

        Args:
            later: signs of life are for the event loop to give.
            by_sender: what is answered before `execute` returns is sent and not returned.
        """
        request = self._entrance.receive(raw, by_sender)
        if request.canary and not later:
            self._attempt(request, partial(self._show_life_now, request))
        else:
            self._attempt(request, partial(self._entrance.check, request))
        return request

    def _show_life_now(self, request: Request) -> None:
        if request.canary == DEEP:
            with self._answers.probing():
                self._probe()
        self._respond(request, pb_utils.InferenceResponse([]))

    def _prepared(self, raw: Any, prepare: Callable[..., Any], by_sender: bool = False) -> Request:
        """The request with its rows prepared, or already answered."""
        request = self._received(raw, by_sender=by_sender)

        def prepare_rows() -> None:
            rows = self._entrance.rows(request)
            if self._entrance.passage:
                request.rows = rows
                self._entrance.admit(request).leave()
            request.rows = [prepare(**row) for row in rows]

        if request.response is None:
            self._attempt(request, prepare_rows)
        return request

    def _answer(self, requests: list[Request], together: Callable[[list[Request]], None]) -> None:
        """Have the requests that are still open answered in one go; where that fails, each by itself."""
        requests = [request for request in requests if request.response is None]
        if not requests:
            return
        started = time.monotonic()
        try:
            together(requests)
        except Exception as error:
            left = [request for request in requests if request.response is None]
            if len(requests) == 1 and left:
                self._fail(left[0], error)
            for request in left if len(requests) > 1 else ():
                self._answer([request], together)
        else:
            self._pace.add(sum(len(request.rows) for request in requests), time.monotonic() - started)
            self.heart.set("pace", self._pace.value)
        self.heart.set("seen", max([int(self.heart.get("seen")), *(t for r in requests for t in r.tickets)]))

    def _attempt(self, request: Request, step: Callable[[], None]) -> None:
        """Take a step of a request's way; an error is its answer."""
        try:
            step()
        except (Exception, asyncio.CancelledError) as error:
            self._fail(request, error)

    def _return(self, request: Request, response: Any) -> None:
        self._respond(request, response)
        self.heart.succeeded()

    def _fail(self, request: Request, error: BaseException) -> None:
        self._respond(request, self._answers.failure(request, error))
        self.heart.progressed()

    def _respond(self, request: Request, response: Any) -> None:
        """The answer, to be returned; or sent, on a thread: see `_send`."""
        request.response = response
        if request.by_sender:
            self._sends.submit(self._answers.say_last, request, response)

    @cached_property
    def _in_flight(self) -> InFlight:
        in_flight = InFlight()
        self.watch(in_flight.fault)
        return in_flight

    @cached_property
    def _sends(self) -> WaitingThreads:
        sends = WaitingThreads("responses", SENDING_THREADS)
        self.watch(sends.fault)
        return sends
