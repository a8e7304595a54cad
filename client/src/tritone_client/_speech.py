"""The verbs about spoken words, as in `_calls`: requests, and how to read their answers."""

from typing import Any

import numpy as np

from tritone_client import _models
from tritone_client._calls import Call, Delivery, Outputs, _request, _text, _words
from tritone_client._exceptions import InvalidInput
from tritone_client._media import audio_bytes
from tritone_client._types import (
    AlignedWord,
    Alignment,
    AudioLike,
    Latencies,
    ReplyChunk,
    Speech,
    SpeechChunk,
)


def speak(delivery: Delivery, inputs: dict[str, Any]) -> Call[Speech]:
    """Text to speech."""
    return Call(_request(_models.TTS, delivery, inputs, _unwanted(inputs)), _speech)


def speak_stream(delivery: Delivery, inputs: dict[str, Any]) -> Call[SpeechChunk]:
    """Text to speech, clause by clause."""
    return Call(_request(_models.SPEAK_STREAM, delivery, inputs, _unwanted(inputs)), _speech_chunk)


def align(delivery: Delivery, audio: AudioLike, text: str, sampling_rate: int | None) -> Call[Alignment]:
    """A recording and its text to the times of its words."""
    return Call(
        _request(_models.ALIGN, delivery, {"audio_bytes": audio_bytes(audio, sampling_rate), "text": text}), _alignment
    )


def converse_stream(
    delivery: Delivery, audio: AudioLike | None, sampling_rate: int | None, inputs: dict[str, Any]
) -> Call[ReplyChunk]:
    """A spoken question, or a typed one in `inputs`, answered clause by clause; `inputs` from `chat_inputs`."""
    if (audio is None) == (inputs["text_input"] is None):
        raise InvalidInput("converse_stream takes either audio or text, and not both")
    spoken = {"audio_bytes": None if audio is None else audio_bytes(audio, sampling_rate)}
    return Call(_request(_models.VOICE_ASSISTANT_STREAM, delivery, inputs | spoken), _reply_chunk)


def _unwanted(inputs: dict[str, Any]) -> tuple[str, ...]:
    return ("audio_bytes",) if inputs["response_format"] is None else ()


def _speech(outputs: Outputs) -> Speech:
    return Speech(
        audio=np.array(outputs["audio"][0], np.float32),  # copied: the wire's buffer is read-only
        sampling_rate=int(outputs["sampling_rate"][0, 0]),
        wav=outputs["audio_wav"][0, 0],
        words=_words(outputs),
        voice=_text(outputs, "voice"),
        encoded=outputs["audio_bytes"][0, 0] if "audio_bytes" in outputs else None,
    )


def _speech_chunk(outputs: Outputs) -> SpeechChunk:
    return SpeechChunk(int(outputs["index"][0, 0]), _text(outputs, "text"), _speech(outputs))


def _alignment(outputs: Outputs) -> Alignment:
    rows = zip(*(outputs[name][0] for name in ("word", "start", "end", "score")), strict=True)
    found = tuple(AlignedWord(str(word, "utf-8"), *map(float, numbers)) for word, *numbers in rows)
    return Alignment(found, bool(outputs["matches"][0, 0]), float(outputs["duration"][0, 0]))


def _reply_chunk(outputs: Outputs) -> ReplyChunk:
    index, audio = int(outputs["index"][0, 0]), np.array(outputs["audio"][0], np.float32)
    rate = int(outputs["sampling_rate"][0, 0])
    return ReplyChunk(
        index=index,
        transcript=_text(outputs, "transcript") if index == 0 else None,
        text=_text(outputs, "text_output"),
        speech=Speech(audio, rate, outputs["audio_wav"][0, 0], _words(outputs)) if len(audio) else None,
        finish_reason=_text(outputs, "finish_reason") or None,
        speech_error=_text(outputs, "speech_error"),
        latencies=Latencies(*(float(outputs[f"{stage}_ms"][0, 0]) for stage in ("hear", "think", "speak", "elapsed"))),
    )
