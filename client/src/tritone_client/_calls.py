"""A verb as a request and the way to read its answer. Nothing here waits, sends or opens a connection.

So a client of any kind (blocking, asynchronous, over gRPC or HTTP) is one line per verb: send the call's request,
return `call.parse(outputs)`. The calls themselves are in `_speech`, `_conversation`, `_embeddings` and `_images`.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from tritone_client._exceptions import InferenceFailed, InvalidInput
from tritone_client._models import Model
from tritone_client._types import Word

Outputs = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")
MOST_TIMEOUT_S = 1e9  # 31 years; gRPC takes a time-out of some hundred years for one that has passed


@dataclass(frozen=True)
class Request:
    """What goes over the wire. `inputs` have their batch axis: [1, ...]; text and media are arrays of bytes."""

    model: str
    inputs: Outputs
    outputs: tuple[str, ...]
    request_id: str
    timeout_s: float

    def text(self, name: str) -> str:
        """The one string of a text input."""
        return str(self.inputs[name][0, 0], "utf-8")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how to read its outputs."""

    request: Request
    read: Callable[[Outputs], T]

    def parse(self, outputs: Outputs) -> T:
        """The answer.

        Raises: InferenceFailed: the outputs are not what the model promises.
        """
        try:
            return self.read(outputs)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self.failure(f"the answer of '{self.request.model}' cannot be read: {error!r}") from error

    def failure(self, message: str) -> InferenceFailed:
        """An error about this request."""
        return InferenceFailed(message, model=self.request.model, request_id=self.request.request_id)


@dataclass(frozen=True)
class Delivery:
    """How a request is sent: its id (made when None) and how long its answer may take, in seconds."""

    timeout_s: float
    request_id: str | None = None


def request(model: Model, delivery: Delivery, values: Mapping[str, Any], leave_out: Sequence[str] = ()) -> Request:
    """The request with a tensor for every value that is not None, for all outputs but those to leave out.

    Raises: InvalidInput: naming the tensor; also for a time-out that is no positive number or too large.
    """
    if not 0 < delivery.timeout_s <= MOST_TIMEOUT_S:
        raise InvalidInput(f"timeout_s is {delivery.timeout_s}, must be over 0 and at most {MOST_TIMEOUT_S:.0f}")
    tensors = {tensor.name: tensor for tensor in model.inputs}
    inputs = {name: tensors[name].array(value) for name, value in values.items() if value is not None}
    missing = [tensor.name for tensor in model.inputs if not tensor.optional and tensor.name not in inputs]
    if missing:
        raise InvalidInput(f"{', '.join(missing)} of '{model.name}' must not be None")
    request_id = str(uuid.uuid4()) if delivery.request_id is None else delivery.request_id
    outputs = tuple(tensor.name for tensor in model.outputs if tensor.name not in leave_out)
    return Request(model.name, inputs, outputs, request_id, delivery.timeout_s)


def text_of(outputs: Outputs, name: str) -> str:
    """The one string of an output."""
    return str(outputs[name][0, 0], "utf-8")


def words_of(outputs: Outputs) -> tuple[Word, ...]:
    """Words in time, of outputs `word`, `word_start` and `word_end`."""
    times = zip(outputs["word_start"][0], outputs["word_end"][0], strict=True)
    spoken = zip(outputs["word"][0], times, strict=True)
    return tuple(Word(str(text, "utf-8"), float(start), float(end)) for text, (start, end) in spoken)
