"""What was said, and when. Whisper makes one for a window, `recording` joins them to that of a whole recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """Words and the time they take, in seconds: a segment, or a word with its punctuation."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """What was said; times from the start of the sound that was heard."""

    text: str = ""
    language: str = ""  # code of the language that was spoken
    segments: tuple[Span, ...] = ()
    words: tuple[Span, ...] = ()  # only if they were asked for

    def outputs(self) -> dict[str, Any]:
        """By the names of the tensors of `whisper` and `transcribe`."""
        return {
            "text": self.text,
            "language": self.language,
            "segment_start": [segment.start for segment in self.segments],
            "segment_end": [segment.end for segment in self.segments],
            "segment_text": [segment.text for segment in self.segments],
            "word": [word.text for word in self.words],
            "word_start": [word.start for word in self.words],
            "word_end": [word.end for word in self.words],
        }
