"""Calls about spoken words, see `call`."""

import json
from collections.abc import Callable
from typing import Any

from tritone_client.calls import models
from tritone_client.calls.call import Call, Outputs, request, samples_of, text_of, words_of
from tritone_client.calls.options import Aligning, Hearing, Speaking, inputs_of
from tritone_client.media import audio_bytes
from tritone_client.types import (
    AlignedWord,
    Alignment,
    AudioLike,
    Segment,
    Speech,
    SpeechChunk,
    Transcript,
    TranscriptChunk,
)

# Of a segment, and how each is read.
_FIGURES: dict[str, Callable[[Any], Any]] = {
    "tokens": lambda tokens: tuple(json.loads(tokens)),
    "seek": int,
    **dict.fromkeys(("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"), float),
}


def transcribe(audio: AudioLike, options: Hearing) -> Call[Transcript]:
    """Speech to text."""
    return Call(request(models.TRANSCRIBE, options, _hearing(audio, options)), _transcript)


def transcribe_stream(audio: AudioLike, options: Hearing) -> Call[TranscriptChunk]:
    """The same, stretch by stretch."""
    sent = request(models.TRANSCRIBE_STREAM, options, _hearing(audio, options))
    return Call(sent, _transcript_chunk, lambda chunk: chunk.is_final)


def speak(text: str, options: Speaking) -> Call[Speech]:
    """Text to speech."""
    return Call(request(models.TTS, options, {"text": text, **inputs_of(options)}, _unwanted(options)), _speech)


def speak_stream(text: str, options: Speaking) -> Call[SpeechChunk]:
    """Text to speech, clause by clause."""
    inputs = {"text": text, **inputs_of(options)}
    return Call(request(models.SPEAK_STREAM, options, inputs, _unwanted(options)), _speech_chunk)


def align(audio: AudioLike, text: str, options: Aligning) -> Call[Alignment]:
    """A recording and its text to the times of its words."""
    inputs = {"audio_bytes": audio_bytes(audio, options.get("sampling_rate")), "text": text}
    return Call(request(models.ALIGN, options, inputs), _alignment)


def _hearing(audio: AudioLike, options: Hearing) -> dict[str, Any]:
    encoded = audio_bytes(audio, options.get("sampling_rate"))
    return {"audio_bytes": encoded, **inputs_of(options, "sampling_rate")}


def _unwanted(options: Speaking) -> tuple[str, ...]:
    return ("audio_bytes",) if options.get("response_format") is None else ()


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
    return {
        "text": text_of(outputs, "text"),
        "language": text_of(outputs, "language"),
        "duration": float(outputs["duration"][0, 0]),
        "segments": _segments(outputs),
        "words": words_of(outputs),
    }


def _segments(outputs: Outputs) -> tuple[Segment, ...]:
    spans = zip(outputs["segment_start"][0], outputs["segment_end"][0], outputs["segment_text"][0], strict=True)
    found = [(float(start), float(end), str(text, "utf-8")) for start, end, text in spans]
    names = [name for name in _FIGURES if f"segment_{name}" in outputs]
    rows = zip(*(outputs[f"segment_{name}"][0].tolist() for name in names), strict=True) if names else [()] * len(found)
    figures = [{name: _FIGURES[name](value) for name, value in zip(names, row, strict=True)} for row in rows]
    return tuple(Segment(*span, **figure) for span, figure in zip(found, figures, strict=True))


def _speech(outputs: Outputs) -> Speech:
    return Speech(
        audio=samples_of(outputs),
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
