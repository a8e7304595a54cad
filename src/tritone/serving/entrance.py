"""The way into a model: who may ask, whether the request is whole and in time, and whether there is room for it.

Each step either lets the request pass or raises what stands against it (docs/request.md: received, admitted).
"""

import asyncio
import inspect
import math
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import triton_python_backend_utils as pb_utils
from pydantic import BaseModel, ConfigDict, ValidationError

from tritone import pulse
from tritone.errors import InvalidInput, NotServed
from tritone.serving.admission import Door, Fellows, Passage, Ticket, Work, full
from tritone.serving.bls import Row
from tritone.serving.cancelling import Cancellations
from tritone.serving.placing import instances_of
from tritone.serving.request import Request
from tritone.serving.tensors import value_of

# Parameters of a config.pbtxt that this layer and `tritone serve` read, and no model.
ACCESS, CALLS, STEP_OF = "access", "calls", "step_of"
PIPELINES = "pipelines"  # the value of `access` for a model that only fellow models may call
Item = TypeVar("Item")
S = TypeVar("S", bound="Settings")
TICKET = "ticket"  # the tensor that carries a row's ticket through an ensemble, see admission.Passage


class Settings(BaseModel):
    """The `parameters` of a config.pbtxt. Subclasses name each key and its type; any other key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def part(self, kind: Callable[..., Item]) -> Item:
        """The settings that a dataclass names, as that dataclass."""
        return kind(**{key: getattr(self, key) for key in inspect.signature(kind).parameters})


def read_settings(schema: type[S], model: str, parameters: Mapping[str, str]) -> S:
    """The parameters of a model's configuration as `schema`.

    Raises: TritonModelException: naming each unknown, missing or malformed key.
    """
    # Keys in capitals are Triton's own, such as FORCE_CPU_ONLY_INPUT_TENSORS.
    ours = {ACCESS, CALLS, STEP_OF}
    given = {key: value for key, value in parameters.items() if not key.isupper() and key not in ours}
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise pb_utils.TritonModelException(f"parameters of model '{model}': {faults}") from error


class DoorSettings(Settings):
    """Those of a model with a door, see `tritone.serving.admission`."""

    max_in_flight: int
    max_wait_s: float
    at_once: int = 1  # 0: as many as the models that it calls have


class Entrance:
    """The way into one model instance.

    Attributes:
        door: counts the requests inside; every model has one, wide open until `Model.open_door`.
        passage: the door of an ensemble that this model is the first step of, if it is one.
        work: what a request's inputs cost, in the unit of the door.
    """

    def __init__(
        self,
        name: str,
        config: dict[str, Any],
        parameters: dict[str, str],
        heart: pulse.Heart,
        cancelled: Cancellations,
    ) -> None:
        """`config`: the model's configuration; `parameters`: its own, key to text."""
        self.name, self._parameters, self._heart, self._cancelled = name, parameters, heart, cancelled
        self._inputs = {tensor["name"]: tensor for tensor in config["input"]}
        self._instances = instances_of(config)
        self._showing = threading.Lock()
        self._fellows = Fellows(name, heart) if self._instances > 1 else None
        self._called: list[pulse.Pages] = []  # models whose places are this one's
        self._pulses: Path = heart.where
        self._token = pulse.token(self._pulses)
        self._marks = frozenset(filter(None, os.environ.get(pulse.MARKS, "").split(",")))
        self.door = Door(name, max_in_flight=2**31, max_wait_s=math.inf)
        self.work: Work = lambda **_: 1.0
        self.passage: Passage | None = None

    def open_door(self, settings: "DoorSettings", work: Work) -> None:
        """Let requests in as `admission.Door` does."""
        self.door = Door(self.name, settings.max_in_flight, settings.max_wait_s, settings.at_once)
        self.work = work
        if not settings.at_once:
            names = self._parameters.get(CALLS, "").split(",")
            self._called = [pulse.Pages(self._pulses, name.strip()) for name in names]
        self._heart.set("places", settings.at_once)

    def open_passage(self, step: str, max_wait_s: float) -> None:
        """Let requests in as `admission.Passage` does; each of this model's processes gives out tickets."""
        self.passage = Passage(self.name, step, self._pulses, max_wait_s, self._instances)

    def receive(self, raw: Any, by_sender: bool) -> Request:
        """The request, with what it says of itself; nothing is judged yet."""
        return Request(raw, self._pulses, self._token, by_sender, self._marks)

    def check(self, request: Request) -> None:
        """Raises: what stands against the request before its inputs are looked at."""
        if self._parameters.get(ACCESS) == PIPELINES and not request.inside:
            raise NotServed(f"model '{self.name}' is for this server's own pipelines alone: ask one of them")
        if request.number in self._cancelled:
            raise asyncio.CancelledError
        request.check_in_time()
        request.check_binary()
        missing = [
            name
            for name, tensor in self._inputs.items()
            if not tensor.get("optional") and pb_utils.get_input_tensor_by_name(request.raw, name) is None
        ]
        if missing and not request.canary:
            raise InvalidInput(f"{', '.join(missing)} of model '{self.name}' must be sent")

    def rows(self, request: Request) -> list[Row]:
        """One dict of plain values per row of the batch axis; tickets that came along are noted in the request.

        Raises: InvalidInput: text that is not UTF-8.
        """
        columns = {}
        for name, config in self._inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request.raw, name)
            if tensor is not None and name != TICKET:
                columns[name] = [value_of(name, row, _is_one_value(config)) for row in tensor.as_numpy()]
            elif tensor is not None:
                request.tickets = [int(row[0]) for row in tensor.as_numpy()]
        count = max(map(len, columns.values()), default=1)
        return [{name: values[row] for name, values in columns.items()} for row in range(count)]

    def admit(self, request: Request) -> Ticket:
        """Let the request in, whose `rows` are there; the ticket must be left again.

        Raises: Unavailable: the door stays closed.
        """
        if self._heart.draining and not request.inside and STEP_OF not in self._parameters:
            raise full(self.name, "to stop: it is being shut down, and takes no new requests", 5.0)
        if self.passage:
            request.tickets = self.passage.admit(len(request.rows))
        work = sum(self.work(**row) for row in request.rows)
        if self._called:
            self.door.at_once = self._places()
        return self.door.admit(work, urgent=request.inside)

    def _places(self) -> int:
        """Of the model among those called that has the fewest, as many as fall to each process of this one."""
        fewest = min(sum(each.places for each in called.read()) for called in self._called)
        return max(fewest // self._instances, 1)

    def show(self) -> None:
        """Write into the pulse what the door has inside."""
        with self._showing:  # or an older state could be written last
            self._heart.set("in_flight", len(self.door))
            self._heart.set("load", self.door.load)

    def give_way(self) -> None:
        """Have fellow processes with less in hand be asked first, see `admission.Fellows`. Blocks Triton's thread."""
        if self._fellows:
            self._fellows.give_way()

    def may_pass_on(self, request: Request) -> bool:
        """Whether a fellow process may have room for a request that was not let in here.

        All were full when this one's `execute` returned last; so it was asked, full as it still is.
        """
        was_passed_on = request.caller.partition(".")[0].partition("#")[0] == self.name
        refuses = self._heart.draining and not request.inside
        return self._fellows is not None and not was_passed_on and not refuses and self._fellows.has_freer()

    def with_tickets(self, request: Request, rows: list[Row]) -> list[Row]:
        """The answer's rows, with their tickets where an ensemble's next step waits for them."""
        if not self.passage:
            return rows
        return [row | {TICKET: ticket} for row, ticket in zip(rows, request.tickets, strict=True)]


def _is_one_value(tensor: dict[str, Any]) -> bool:
    return [int(dim) for dim in tensor["dims"]] == [1]
