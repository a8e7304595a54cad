"""Each verb as a request and the way to read its answer. Nothing here waits, sends or opens a connection.

So a client of any kind (blocking, asynchronous, over gRPC or HTTP) is one line per verb: send the call's request,
return `call.parse(outputs)`.
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from tritone_client import _models
from tritone_client._exceptions import InferenceFailed, InvalidInput
from tritone_client._media import audio_bytes, image_bytes
from tritone_client._models import Model
from tritone_client._types import (
    Answer,
    AnswerChunk,
    AudioLike,
    ImageLike,
    Messages,
    Reply,
    Segment,
    Speech,
    Transcript,
    Word,
)

_CAPTION_QUESTIONS = {"en": "Describe the picture.", "zh": "请描述这张图。"}
Outputs = Mapping[str, npt.NDArray[Any]]
T = TypeVar("T")


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


@dataclass(frozen=True)
class SamplingOptions:
    """How an answer is made; None is the server's default. The names are those of the model's inputs."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    adapter: str | None = None


def transcribe(
    delivery: Delivery, audio: AudioLike, sampling_rate: int | None, language: str | None, task: str | None
) -> Call[Transcript]:
    """Speech to text."""
    inputs = {"audio_bytes": audio_bytes(audio, sampling_rate), "language": language, "task": task}
    return Call(_request(_models.TRANSCRIBE, delivery, inputs), _transcript)


def ask(delivery: Delivery, inputs: dict[str, Any]) -> Call[Answer]:
    """A question to the language model; `inputs` from `chat_inputs`."""
    return Call(_request(_models.LLAVA_ANSWER, delivery, inputs), _answer)


def ask_stream(delivery: Delivery, inputs: dict[str, Any], unit: str | None) -> Call[AnswerChunk]:
    """The same, answered piece by piece."""
    return Call(_request(_models.LLAVA, delivery, {**inputs, "stream_unit": unit}), _answer_chunk)


def converse(
    delivery: Delivery,
    audio: AudioLike | None,
    sampling_rate: int | None,
    text: str | None,
    image: ImageLike | None,
    images: Sequence[ImageLike] | None,
    messages: Messages | None,
    max_tokens: int | None,
    adapter: str | None,
    voice: str | None,
    speed: float | None,
) -> Call[Reply]:
    """A spoken or typed question, answered aloud."""
    if (audio is None) == (text is None):
        raise InvalidInput("converse takes either audio or text, and not both")
    inputs = {
        "audio_bytes": None if audio is None else audio_bytes(audio, sampling_rate),
        "text_input": text,
        "image_bytes": _images(image, images),
        "messages": _messages(messages),
        "max_tokens": max_tokens,
        "adapter": adapter,
        "voice": voice,
        "speed": speed,
    }
    return Call(_request(_models.VOICE_ASSISTANT, delivery, inputs), _reply)


def chat_inputs(
    question: str | None,
    image: ImageLike | None,
    images: Sequence[ImageLike] | None,
    messages: Messages | None,
    options: SamplingOptions,
) -> dict[str, Any]:
    """The inputs that `ask` and `ask_stream` share."""
    stop = [options.stop] if isinstance(options.stop, str) else list(options.stop or ()) or None
    pictures, history = _images(image, images), _messages(messages)
    return {"text_input": question, "image_bytes": pictures, "messages": history, **vars(options), "stop": stop}


def caption_question(language: str) -> str:
    """What `caption` asks.

    Raises: InvalidInput: a language it does not know.
    """
    if language not in _CAPTION_QUESTIONS:
        raise InvalidInput(f"language is {language!r}, must be one of {', '.join(_CAPTION_QUESTIONS)}")
    return _CAPTION_QUESTIONS[language]


# ---- requests


def _request(model: Model, delivery: Delivery, values: Mapping[str, Any], leave_out: Sequence[str] = ()) -> Request:
    """The request with a tensor for every value that is not None, for all outputs but those to leave out.

    Raises: InvalidInput: naming the tensor; also for a time-out that is not a positive number.
    """
    if not 0 < delivery.timeout_s < float("inf"):
        raise InvalidInput(f"timeout_s is {delivery.timeout_s}, must be over 0 and finite")
    tensors = {tensor.name: tensor for tensor in model.inputs}
    inputs = {name: tensors[name].array(value) for name, value in values.items() if value is not None}
    missing = [tensor.name for tensor in model.inputs if not tensor.optional and tensor.name not in inputs]
    if missing:
        raise InvalidInput(f"{', '.join(missing)} of '{model.name}' must not be None")
    request_id = str(uuid.uuid4()) if delivery.request_id is None else delivery.request_id
    outputs = tuple(tensor.name for tensor in model.outputs if tensor.name not in leave_out)
    return Request(model.name, inputs, outputs, request_id, delivery.timeout_s)


def _images(image: ImageLike | None, images: Sequence[ImageLike] | None) -> list[bytes] | None:
    if image is not None and images is not None:
        raise InvalidInput("image and images are both given: put all pictures into images")
    pictures = [image] if image is not None else list(images or ())
    return [image_bytes(picture) for picture in pictures] or None


def _messages(messages: Messages | None) -> str | None:
    if messages is None:
        return None
    try:
        return json.dumps([dict(message) for message in messages], ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"messages must be a list of {{'role': ..., 'content': ...}}: {error}") from error


# ---- answers


def _transcript(outputs: Outputs) -> Transcript:
    times = zip(outputs["segment_start"][0], outputs["segment_end"][0], strict=True)
    segments = zip(times, outputs["segment_text"][0], strict=True)
    return Transcript(
        text=_text(outputs, "text"),
        language=_text(outputs, "language"),
        duration=float(outputs["duration"][0, 0]),
        segments=tuple(Segment(float(start), float(end), str(text, "utf-8")) for (start, end), text in segments),
    )


def _answer(outputs: Outputs) -> Answer:
    return Answer(_text(outputs, "text_output"), _text(outputs, "finish_reason"), *_counts(outputs))


def _answer_chunk(outputs: Outputs) -> AnswerChunk:
    reason = _text(outputs, "finish_reason") or None
    return AnswerChunk(_text(outputs, "text_output"), reason, *_counts(outputs))


def _reply(outputs: Outputs) -> Reply:
    return Reply(
        transcript=_text(outputs, "transcript"),
        text=_text(outputs, "text_output"),
        speech=replace(Speech.from_wav(outputs["audio_wav"][0, 0]), words=_words(outputs)),
        question_duration=float(outputs["duration"][0, 0]),
        finish_reason=_text(outputs, "finish_reason"),
        speech_error=_text(outputs, "speech_error"),
    )


def _words(outputs: Outputs) -> tuple[Word, ...]:
    """Words in time, of outputs `word`, `word_start` and `word_end`."""
    times = zip(outputs["word_start"][0], outputs["word_end"][0], strict=True)
    spoken = zip(outputs["word"][0], times, strict=True)
    return tuple(Word(str(text, "utf-8"), float(start), float(end)) for text, (start, end) in spoken)


def _text(outputs: Outputs, name: str) -> str:
    """The one string of an output."""
    return str(outputs[name][0, 0], "utf-8")


def _counts(outputs: Outputs) -> tuple[int, int]:
    return int(outputs["prompt_tokens"][0, 0]), int(outputs["completion_tokens"][0, 0])
