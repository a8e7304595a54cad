"""Calls to the language model and the voice assistant, see `call`."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tritone_client.calls import models
from tritone_client.calls.call import Call, Outputs, request, samples_of, text_of, words_of
from tritone_client.calls.options import Asking, Captioning, Conversing, ConversingStream, inputs_of
from tritone_client.exceptions import InvalidInput
from tritone_client.media import audio_bytes, image_bytes
from tritone_client.types import (
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

_COUNTS = ("prompt_tokens", "completion_tokens", "image_tokens")
_CAPTION_QUESTIONS = {"en": "Describe the picture.", "zh": "请描述这张图。"}


def ask(question: str, image: ImageLike | None, options: Asking) -> Call[Answer]:
    """A question to the language model."""
    return Call(request(models.LLAVA_ANSWER, options, _chat_inputs(question, image, options)), _answer)


def ask_stream(question: str, image: ImageLike | None, unit: str | None, options: Asking) -> Call[AnswerChunk]:
    """The same, answered piece by piece."""
    inputs = {**_chat_inputs(question, image, options), "stream_unit": unit}
    return Call(request(models.LLAVA, options, inputs), _answer_chunk, _has_reason)


def caption(image: ImageLike, language: str, options: Captioning) -> Call[str]:
    """A picture in a sentence.

    Raises: InvalidInput: a language it does not know.
    """
    if language not in _CAPTION_QUESTIONS:
        raise InvalidInput(f"language is {language!r}, must be one of {', '.join(_CAPTION_QUESTIONS)}")
    inputs = _chat_inputs(_CAPTION_QUESTIONS[language], image, options)
    return Call(request(models.LLAVA_ANSWER, options, inputs), lambda outputs: _answer(outputs).text)


def converse(audio: AudioLike | None, image: ImageLike | None, options: Conversing) -> Call[Reply]:
    """A spoken or typed question, answered aloud."""
    inputs = _turn_inputs("converse", audio, image, options)
    return Call(request(models.VOICE_ASSISTANT, options, inputs), _reply)


def converse_stream(audio: AudioLike | None, image: ImageLike | None, options: ConversingStream) -> Call[ReplyChunk]:
    """The same, answered clause by clause."""
    inputs = _turn_inputs("converse_stream", audio, image, options)
    inputs["modalities"] = None if inputs.pop("aloud", True) else ["text"]
    return Call(request(models.VOICE_ASSISTANT_STREAM, options, inputs), _reply_chunk, _has_reason)


def _turn_inputs(verb: str, audio: AudioLike | None, image: ImageLike | None, options: Conversing) -> dict[str, Any]:
    if (audio is None) == (options.get("text") is None):
        raise InvalidInput(f"{verb} takes either audio or text, and not both")
    inputs = _chat_inputs(options.get("text"), image, options)
    rate, _ = (inputs.pop(name, None) for name in ("sampling_rate", "text"))
    return inputs | {"audio_bytes": None if audio is None else audio_bytes(audio, rate)}


def _chat_inputs(
    question: str | None, image: ImageLike | None, options: Asking | Captioning | Conversing
) -> dict[str, Any]:
    """The inputs of the question, the pictures, the history, and all other options under their own names."""
    given = inputs_of(options)
    images, messages, stop = (given.pop(name, None) for name in ("images", "messages", "stop"))
    if (shape := given.pop("response_format", None)) is not None:
        given["response_format"] = json.dumps(shape, ensure_ascii=False)
    return {
        "text_input": question,
        "image_bytes": _images(image, images),
        "messages": _messages(messages),
        "stop": [stop] if isinstance(stop, str) else list(stop or ()) or None,
        **given,
    }


def _has_reason(chunk: AnswerChunk | ReplyChunk) -> bool:
    return chunk.finish_reason is not None


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
    said = text_of(outputs, "text_output"), text_of(outputs, "finish_reason")
    return Answer(*said, *_counts(outputs), **_figures(outputs))


def _answer_chunk(outputs: Outputs) -> AnswerChunk:
    reason = text_of(outputs, "finish_reason") or None
    return AnswerChunk(text_of(outputs, "text_output"), reason, *_counts(outputs), **_figures(outputs))


def _counts(outputs: Outputs) -> tuple[int, int]:
    return int(outputs["prompt_tokens"][0, 0]), int(outputs["completion_tokens"][0, 0])


def _figures(outputs: Outputs) -> dict[str, Any]:
    """What servers before 0.2 do not tell."""
    told = text_of(outputs, "logprobs_content") if "logprobs_content" in outputs else ""
    images = int(outputs["image_tokens"][0, 0]) if "image_tokens" in outputs else 0
    return {"image_tokens": images, "logprobs": tuple(json.loads(told or "[]"))}


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
    index, audio = int(outputs["index"][0, 0]), samples_of(outputs)
    rate = int(outputs["sampling_rate"][0, 0])
    return ReplyChunk(
        index=index,
        transcript=text_of(outputs, "transcript") if index == 0 else None,
        text=text_of(outputs, "text_output"),
        speech=Speech(audio, rate, outputs["audio_wav"][0, 0], words_of(outputs)) if len(audio) else None,
        finish_reason=text_of(outputs, "finish_reason") or None,
        speech_error=text_of(outputs, "speech_error"),
        latencies=Latencies(*(float(outputs[f"{stage}_ms"][0, 0]) for stage in ("hear", "think", "speak", "elapsed"))),
        **{name: int(outputs[name][0, 0]) for name in _COUNTS if name in outputs},
    )
