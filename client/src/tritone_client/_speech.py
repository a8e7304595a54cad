"""Calls about spoken words, see `_calls`."""

from typing import Any

import numpy as np

from tritone_client import _models
from tritone_client._calls import Call, Delivery, Outputs, request, text_of, words_of
from tritone_client._media import audio_bytes
from tritone_client._types import (
    AlignedWord,
    Alignment,
    AudioLike,
    Segment,
    Speech,
    SpeechChunk,
    Transcript,
    TranscriptChunk,
)


def transcribe(
    delivery: Delivery, audio: AudioLike, sampling_rate: int | None, **options: str | bool | None
) -> Call[Transcript]:
    """Speech to text; `options` are the model's other inputs."""
    inputs = {"audio_bytes": audio_bytes(audio, sampling_rate), **options}
    return Call(request(_models.TRANSCRIBE, delivery, inputs), _transcript)


def transcribe_stream(
    delivery: Delivery, audio: AudioLike, sampling_rate: int | None, **options: str | bool | None
) -> Call[TranscriptChunk]:
    """The same, stretch by stretch."""
    inputs = {"audio_bytes": audio_bytes(audio, sampling_rate), **options}
    return Call(request(_models.TRANSCRIBE_STREAM, delivery, inputs), _transcript_chunk)


def speak(delivery: Delivery, inputs: dict[str, Any]) -> Call[Speech]:
    """Text to speech."""
    return Call(request(_models.TTS, delivery, inputs, _unwanted(inputs)), _speech)


def speak_stream(delivery: Delivery, inputs: dict[str, Any]) -> Call[SpeechChunk]:
    """Text to speech, clause by clause."""
    return Call(request(_models.SPEAK_STREAM, delivery, inputs, _unwanted(inputs)), _speech_chunk)


def align(delivery: Delivery, audio: AudioLike, text: str, sampling_rate: int | None) -> Call[Alignment]:
    """A recording and its text to the times of its words."""
    return Call(
        request(_models.ALIGN, delivery, {"audio_bytes": audio_bytes(audio, sampling_rate), "text": text}), _alignment
    )


def _unwanted(inputs: dict[str, Any]) -> tuple[str, ...]:
    return ("audio_bytes",) if inputs["response_format"] is None else ()


def _transcript(outputs: Outputs) -> Transcript:
    return Transcript(**_heard(outputs))


def _transcript_chunk(outputs: Outputs) -> TranscriptChunk:
    return TranscriptChunk(
        **_heard(outputs),
        index=int(outputs["index"][0, 0]),
        end=float(outputs["end"][0, 0]),
        is_final=bool(outputs["is_final"][0, 0]),
    )


def _heard(outputs: Outputs) -> dict[str, Any]:
    segments = zip(outputs["segment_start"][0], outputs["segment_end"][0], outputs["segment_text"][0], strict=True)
    return {
        "text": text_of(outputs, "text"),
        "language": text_of(outputs, "language"),
        "duration": float(outputs["duration"][0, 0]),
        "segments": tuple(Segment(float(start), float(end), str(text, "utf-8")) for start, end, text in segments),
        "words": words_of(outputs),
    }


def _speech(outputs: Outputs) -> Speech:
    return Speech(
        audio=np.array(outputs["audio"][0], np.float32),  # copied: the wire's buffer is read-only
        sampling_rate=int(outputs["sampling_rate"][0, 0]),
        wav=outputs["audio_wav"][0, 0],
        words=words_of(outputs),
        voice=text_of(outputs, "voice"),
        encoded=outputs["audio_bytes"][0, 0] if "audio_bytes" in outputs else None,
        note=text_of(outputs, "note") if "note" in outputs else "",
    )


def _speech_chunk(outputs: Outputs) -> SpeechChunk:
    return SpeechChunk(int(outputs["index"][0, 0]), text_of(outputs, "text"), _speech(outputs))


def _alignment(outputs: Outputs) -> Alignment:
    rows = zip(*(outputs[name][0] for name in ("word", "start", "end", "score")), strict=True)
    found = tuple(AlignedWord(str(word, "utf-8"), *map(float, numbers)) for word, *numbers in rows)
    return Alignment(found, bool(outputs["matches"][0, 0]), float(outputs["duration"][0, 0]))
