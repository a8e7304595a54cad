"""A verb as a request and the way to read its answer. Nothing here waits, sends or opens a connection.

So a client of any kind (blocking, asynchronous, over gRPC or HTTP) is one line per verb: send the call's request,
return `call.parse(outputs)`. The calls themselves are in `speech`, `conversation`, `embeddings` and `images`.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from tritone_client.calls.models import Model
from tritone_client.calls.options import Sending
from tritone_client.exceptions import Error, InferenceFailed, InvalidInput
from tritone_client.types import Speech, Word

Outputs = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")
R = TypeVar("R")
_KEY, _VALUE = re.compile(r"[0-9a-z_.-]+"), re.compile(r"[\x20-\x7e]*")  # what gRPC and HTTP/2 let through
MOST_TIMEOUT_S = 1e9  # 31 years; gRPC takes a time-out of some hundred years for one that has passed


@dataclass(frozen=True)
class Request:
    """What goes over the wire. `inputs` have their batch axis: [1, ...]; text and media are arrays of bytes."""

    model: str
    inputs: Outputs
    outputs: tuple[str, ...]
    request_id: str
    timeout_s: float
    metadata: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The one string of a text input."""
        return str(self.inputs[name][0, 0], "utf-8")


def _any_may_be_last(part: object) -> bool:
    return True


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how to read its outputs; of a stream also which part ends it."""

    request: Request
    read: Callable[[Outputs], T]
    is_last: Callable[[T], bool] = _any_may_be_last

    def parse(self, outputs: Outputs) -> T:
        """The answer.

        Raises: InferenceFailed: the outputs are not what the model promises.
        """
        try:
            return self.read(outputs)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self.failure(f"the answer of '{self.request.model}' cannot be read: {error!r}") from error

    def broke_off(self) -> InferenceFailed:
        """The error of a stream that ended before its last part."""
        return self.failure(f"the stream of '{self.request.model}' broke off before the end of the answer")

    def failure(self, message: str) -> InferenceFailed:
        """An error about this request."""
        return InferenceFailed(message, model=self.request.model, request_id=self.request.request_id)


@dataclass(frozen=True)
class Batch(Generic[R, T]):
    """A verb that needs several requests: one for each item, and how to join their answers.

    Args:
        media: what must be read to make each item's request (a path, a picture, ...); None where nothing must.
        call: the request of the item of this index, made when its turn comes: a thousand pictures do not fit in memory.
        join: the answers, in order, to the verb's answer.
        failed: what stands for an item whose request failed, by index; raises what ends the whole.
    """

    media: Sequence[object]
    call: Callable[[int], Call[R]]
    join: Callable[[list[R]], T]
    failed: Callable[[int, Error], R]


def request(model: Model, sending: Sending, values: Mapping[str, Any], leave_out: Sequence[str] = ()) -> Request:
    """The request with a tensor for every value that is not None, for all outputs but those to leave out.

    Raises: InvalidInput: naming the tensor; also for metadata, and for a time-out that is no positive number or too
        large.
    """
    timeout_s, request_id = sending.get("timeout_s"), sending.get("request_id")
    if timeout_s is None or not 0 < timeout_s <= MOST_TIMEOUT_S:
        raise InvalidInput(f"timeout_s is {timeout_s}, must be over 0 and at most {MOST_TIMEOUT_S:.0f}")
    tensors = {tensor.name: tensor for tensor in model.inputs}
    inputs = {name: tensors[name].array(value) for name, value in values.items() if value is not None}
    missing = [tensor.name for tensor in model.inputs if not tensor.optional and tensor.name not in inputs]
    if missing:
        raise InvalidInput(f"{', '.join(missing)} of '{model.name}' must not be None")
    outputs = tuple(tensor.name for tensor in model.outputs if tensor.name not in leave_out)
    request_id = str(uuid.uuid4()) if request_id is None else request_id
    return Request(model.name, inputs, outputs, request_id, timeout_s, headers_of(sending.get("metadata") or {}))


def headers_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with their names in lower case.

    Raises: InvalidInput: a name or value that no protocol carries; the value is not told, as it may be secret.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, value in lowered.items():
        if not _KEY.fullmatch(name) or not _VALUE.fullmatch(value):
            raise InvalidInput(f"metadata '{name}' must have a name of {_KEY.pattern} and a value of visible ASCII")
    return lowered


def text_of(outputs: Outputs, name: str) -> str:
    """The one string of an output."""
    return str(outputs[name][0, 0], "utf-8")


def samples_of(outputs: Outputs) -> npt.NDArray[np.float32]:
    """Sound, float32 (n_samples,); read from its file where the answer has no samples, as in JSON."""
    if "audio" in outputs:
        return np.array(outputs["audio"][0], np.float32)  # copied: the wire's buffer is read-only
    wav = outputs["audio_wav"][0, 0]
    return Speech.from_wav(wav).audio if wav else np.zeros(0, np.float32)


def words_of(outputs: Outputs) -> tuple[Word, ...]:
    """Words in time, of outputs `word`, `word_start` and `word_end`."""
    times = zip(outputs["word_start"][0], outputs["word_end"][0], strict=True)
    spoken = zip(outputs["word"][0], times, strict=True)
    return tuple(Word(str(text, "utf-8"), float(start), float(end)) for text, (start, end) in spoken)
