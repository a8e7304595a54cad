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


class Voice(BaseModel):
    """`voice.json`: who speaks, and what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    languages: list[str]  # primary subtags: "en", "zh"


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
