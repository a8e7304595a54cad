"""The pipeline behind `transcribe` and `transcribe_stream`: a sound file → decoder → pieces → Whisper → text.

It asks other models through a function that it is given (`bls.call` in the server), and knows no Triton itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from tritone import checkpoints
from tritone.media.audio import SAMPLING_RATE, Audio
from tritone.speech.listening import recording
from tritone.speech.listening.log_mel import LogMel
from tritone.speech.listening.recording import Options, Piece
from tritone.speech.listening.transcript import FIGURES, Segment, Span, Transcript
from tritone.speech.listening.voice_activity import VoiceActivity

Row = dict[str, Any]
Call = Callable[[str, Row, Sequence[str]], Awaitable[Row]]

HEARD = (
    "text",
    "language",
    "segment_start",
    "segment_end",
    "segment_text",
    "segment_tokens",
    *(f"segment_{name}" for name in FIGURES),
    "word",
    "word_start",
    "word_end",
)


class Listener:
    """Hears sound files with the models `audio_decoder` and `whisper`."""

    def __init__(
        self, log_mel: LogMel, voice_activity: VoiceActivity, call: Call, max_windows: int, facts: Row
    ) -> None:
        """`max_windows`: how many windows of one recording are under way at a time; `facts`: see there."""
        self.log_mel, self._facts = log_mel, facts
        self._voice_activity = voice_activity
        self._call = call
        self._max_windows = max_windows

    @classmethod
    def load(cls, checkpoint: str, call: Call, max_windows: int) -> Listener:
        """For the Whisper checkpoint of that logical name."""
        folder = checkpoints.path(checkpoint)
        return cls(LogMel.load(folder), VoiceActivity.load(), call, max_windows, _facts(folder))

    def facts(self) -> Row:
        """What is offered, in JSON's values: the checkpoint, its languages, and whether it translates into English."""
        return self._facts

    async def transcribe(self, audio_bytes: bytes, **options: Any) -> Row:
        """The outputs of `transcribe`; `options` as in `stream`."""
        audio, duration = await self._decode(audio_bytes)
        async with aclosing(self._hear_all(recording.split(audio), options)) as parts:
            heard = recording.join([part async for part in parts])
        return heard.outputs() | {"duration": duration}

    async def stream(self, audio_bytes: bytes, **options: Any) -> AsyncIterator[Row]:
        """The outputs of `transcribe_stream`, one row for each piece of the recording.

        Args:
            options: `language`, `task`, `initial_prompt`, `word_timestamps` and `temperature`, as far as the caller
                sent them.
        """
        audio, duration = await self._decode(audio_bytes)
        pieces = recording.split(audio)
        async with aclosing(self._hear_all(pieces, options)) as parts:
            index = 0
            async for part in parts:
                yield part.outputs() | {
                    "index": index,
                    "duration": duration,
                    "end": pieces[index].end,
                    "is_final": index == len(pieces) - 1,
                }
                index += 1

    def written(self, text: str, language: str) -> Row:
        """The outputs of `transcribe` for a question that was typed."""
        return Transcript(text, language).outputs() | {"duration": 0.0}

    async def _decode(self, audio_bytes: bytes) -> tuple[Audio, float]:
        sound = await self._call("audio_decoder", {"audio_bytes": audio_bytes}, ["audio", "duration"])
        return sound["audio"], float(sound["duration"][0])

    def _hear_all(self, pieces: Sequence[Piece], options: Row) -> AsyncGenerator[Transcript, None]:
        return recording.transcribe(pieces, Options(**options), self._spoken, self._hear, self._max_windows)

    async def _spoken(self, audio: Audio) -> Sequence[tuple[int, int]]:
        return await asyncio.to_thread(self._voice_activity.spoken, audio)

    async def _hear(self, audio: Audio, options: Options) -> Transcript:
        # All options always go along: Triton never batches requests that differ in which inputs they have.
        window = {
            "input_features": await asyncio.to_thread(self.log_mel, audio),
            "duration": np.float32(len(audio) / SAMPLING_RATE),
            "language": options.language,
            "task": options.task,
            "initial_prompt": options.initial_prompt,
            "word_timestamps": np.bool_(options.word_timestamps),
            "temperature": np.float32(options.temperature),
        }
        heard = await self._call("whisper", window, HEARD)
        return Transcript(
            _text(heard["text"][0]),
            _text(heard["language"][0]),
            _segments(heard),
            _spans(heard["word_start"], heard["word_end"], heard["word"]),
        )


def _facts(folder: Path) -> Row:
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    translates = bool(settings.get("is_multilingual", True))
    languages = [token.strip("<|>") for token in settings.get("lang_to_id") or {}] if translates else ["en"]
    return {"checkpoint": folder.name, "languages": languages, "translates": translates}


def _segments(heard: Row) -> tuple[Segment, ...]:
    spans = _spans(heard["segment_start"], heard["segment_end"], heard["segment_text"])
    figures = zip(*(heard[f"segment_{name}"].tolist() for name in FIGURES), strict=True)
    return tuple(
        Segment(span.start, span.end, span.text, tuple(json.loads(tokens)), *values)
        for span, tokens, values in zip(spans, heard["segment_tokens"], figures, strict=True)
    )


def _spans(starts: Any, ends: Any, texts: Any) -> tuple[Span, ...]:
    return tuple(
        Span(float(start), float(end), _text(text)) for start, end, text in zip(starts, ends, texts, strict=True)
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8")
