"""Calls to the language model and the voice assistant, see `_calls`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tritone_client import _models
from tritone_client._calls import Call, Delivery, Outputs, request, text_of, words_of
from tritone_client._exceptions import InvalidInput
from tritone_client._media import audio_bytes, image_bytes
from tritone_client._types import (
    Answer,
    AnswerChunk,
    AudioLike,
    ImageLike,
    Latencies,
    Messages,
    Reply,
    ReplyChunk,
    Speech,
)

_CAPTION_QUESTIONS = {"en": "Describe the picture.", "zh": "请描述这张图。"}


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


def ask(delivery: Delivery, inputs: dict[str, Any]) -> Call[Answer]:
    """A question to the language model; `inputs` from `chat_inputs`."""
    return Call(request(_models.LLAVA_ANSWER, delivery, _asked(_models.LLAVA_ANSWER, inputs)), _answer)


def ask_stream(delivery: Delivery, inputs: dict[str, Any], unit: str | None) -> Call[AnswerChunk]:
    """The same, answered piece by piece."""
    inputs = {**_asked(_models.LLAVA, inputs), "stream_unit": unit}
    return Call(request(_models.LLAVA, delivery, inputs), _answer_chunk)


def _asked(model: _models.Model, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs; the model itself would take the last turn of `messages` for a question that is missing."""
    if inputs["text_input"] is None:
        raise InvalidInput(f"text_input of '{model.name}' must not be None")
    return inputs


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
    return Call(request(_models.VOICE_ASSISTANT, delivery, inputs), _reply)


def converse_stream(
    delivery: Delivery, audio: AudioLike | None, sampling_rate: int | None, inputs: dict[str, Any]
) -> Call[ReplyChunk]:
    """A spoken question, or a typed one in `inputs`, answered clause by clause; `inputs` from `chat_inputs`."""
    if (audio is None) == (inputs["text_input"] is None):
        raise InvalidInput("converse_stream takes either audio or text, and not both")
    spoken = {"audio_bytes": None if audio is None else audio_bytes(audio, sampling_rate)}
    return Call(request(_models.VOICE_ASSISTANT_STREAM, delivery, inputs | spoken), _reply_chunk)


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


def _answer(outputs: Outputs) -> Answer:
    return Answer(text_of(outputs, "text_output"), text_of(outputs, "finish_reason"), *_counts(outputs))


def _answer_chunk(outputs: Outputs) -> AnswerChunk:
    reason = text_of(outputs, "finish_reason") or None
    return AnswerChunk(text_of(outputs, "text_output"), reason, *_counts(outputs))


def _counts(outputs: Outputs) -> tuple[int, int]:
    return int(outputs["prompt_tokens"][0, 0]), int(outputs["completion_tokens"][0, 0])


def _reply(outputs: Outputs) -> Reply:
    return Reply(
        transcript=text_of(outputs, "transcript"),
        text=text_of(outputs, "text_output"),
        speech=replace(Speech.from_wav(outputs["audio_wav"][0, 0]), words=words_of(outputs)),
        question_duration=float(outputs["duration"][0, 0]),
        finish_reason=text_of(outputs, "finish_reason"),
        speech_error=text_of(outputs, "speech_error"),
    )


def _reply_chunk(outputs: Outputs) -> ReplyChunk:
    index, audio = int(outputs["index"][0, 0]), np.array(outputs["audio"][0], np.float32)
    rate = int(outputs["sampling_rate"][0, 0])
    return ReplyChunk(
        index=index,
        transcript=text_of(outputs, "transcript") if index == 0 else None,
        text=text_of(outputs, "text_output"),
        speech=Speech(audio, rate, outputs["audio_wav"][0, 0], words_of(outputs)) if len(audio) else None,
        finish_reason=text_of(outputs, "finish_reason") or None,
        speech_error=text_of(outputs, "speech_error"),
        latencies=Latencies(*(float(outputs[f"{stage}_ms"][0, 0]) for stage in ("hear", "think", "speak", "elapsed"))),
    )
