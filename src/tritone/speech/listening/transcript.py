"""What was said, and when. Whisper makes one for a window, `recording` joins them to that of a whole recording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

# Of a segment, as openai/whisper and OpenAI's verbose_json name them.
FIGURES = ("seek", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")


@dataclass(frozen=True)
class Span:
    """Words and the time they take, in seconds: a segment, or a word with its punctuation."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Segment(Span):
    """What was said between two of Whisper's timestamps, with the figures that openai/whisper gives it.

    All but the tokens are those of the window that was heard: segments of one window share them.
    """

    tokens: tuple[int, ...]  # text and timestamps
    seek: int  # where the window starts, in frames of 10 ms from the start of the sound
    temperature: float  # that the text was sampled at
    avg_logprob: float  # natural logarithms; their sum over the window's tokens / (number of tokens + 1)
    compression_ratio: float  # bytes of the window's text / bytes of the same by zlib
    no_speech_prob: float  # that the window holds no speech


@dataclass(frozen=True)
class Transcript:
    """What was said; times from the start of the sound that was heard."""

    text: str = ""
    language: str = ""  # code of the language that was spoken
    segments: tuple[Segment, ...] = ()
    words: tuple[Span, ...] = ()  # only if they were asked for

    def outputs(self) -> dict[str, Any]:
        """By the names of the tensors of `whisper` and `transcribe`."""
        return {
            "text": self.text,
            "language": self.language,
            "segment_start": [segment.start for segment in self.segments],
            "segment_end": [segment.end for segment in self.segments],
            "segment_text": [segment.text for segment in self.segments],
            "segment_tokens": [json.dumps(segment.tokens) for segment in self.segments],
            **{f"segment_{name}": [getattr(segment, name) for segment in self.segments] for name in FIGURES},
            "word": [word.text for word in self.words],
            "word_start": [word.start for word in self.words],
            "word_end": [word.end for word in self.words],
        }
