"""What every engine of text to speech has in common: who speaks, and what one utterance sounds like.

An engine is a class of its own module (`vits`, `tacotron`, `xtts`, `espeak`). It is given clauses as lists of words,
each spelled as it is read aloud, and gives back a sound with the times of those words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tritone.errors import InvalidInput

MIN_SPEED, MAX_SPEED = 0.25, 4.0
CITED = 40  # characters of the caller's words in an error
LISTED = 6  # languages of a voice that an error names; where there are more, it says how many
LANGUAGE_LIST = "docs/languages.md"


class Voice(BaseModel):
    """`voice.json`: who speaks, and what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    languages: list[str]  # primary subtags: "en", "zh"


def check_speed(speed: float) -> None:
    """Raises: InvalidInput."""
    if not MIN_SPEED <= speed <= MAX_SPEED:  # NaN fails too
        raise InvalidInput(f"speed is {speed:g}, it must be from {MIN_SPEED:g} to {MAX_SPEED:g}")


def check_known(name: str, voices: Sequence[Voice]) -> None:
    """Whether one of the voices has this name; "" is any.

    Raises: InvalidInput, which lists the voices.
    """
    if name and all(name != voice.name for voice in voices):
        raise InvalidInput(f"voice {name[:CITED]!r} is unknown; {offer(voices)}")


def offer(voices: Sequence[Voice]) -> str:
    """The voices and what they speak, for a sentence."""
    named = [f"{voice.name} ({_listed(voice.languages)})" for voice in voices]
    return f"voices and their languages: {'; '.join(named)}"


def _listed(languages: Sequence[str]) -> str:
    if len(languages) > LISTED:
        return f"{len(languages)} languages, listed in {LANGUAGE_LIST}"
    return ", ".join(languages)


@dataclass(frozen=True)
class Sound:
    """One clause, spoken."""

    audio: NDArray[np.float32]  # (n_samples,)
    # Start and end of each word in seconds; equal where a word is silent. Empty: this engine does not know.
    times: tuple[tuple[float, float], ...] = ()


class Engine(Protocol):
    """One voice, loaded."""

    voice: Voice
    sampling_rate: int  # Hz

    def prepare(self, words: Sequence[str]) -> Any | None:
        """The words as `synthesize` takes them; None if there is nothing to speak."""

    def synthesize(self, clauses: Sequence[tuple[Any, float]]) -> list[Sound]:
        """Speak prepared clauses, each at its own speed; a clause sounds the same whatever its neighbours are."""
