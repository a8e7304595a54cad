"""Turns of a live microphone: who speaks begins one, who falls silent ends it.

Any source of samples plays the microphone's part: `sounddevice`, a telephone line, or a file. The voice activity
detector is WebRTC's, from the package extra `microphone`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike

import numpy as np
import numpy.typing as npt
import soundfile

from tritone_client.exceptions import InvalidInput

FRAME_S = 0.03  # what WebRTC judges at a time
RATES = (8_000, 16_000, 32_000, 48_000)  # Hz
Samples = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Turn:
    """What somebody said, from a little before the first word to the silence behind the last."""

    audio: Samples  # (n_samples,), mono
    sampling_rate: int  # Hz
    start: float  # seconds since the microphone was opened


class TurnDetector:
    """Finds the turns in a stream of samples.

    Args:
        sampling_rate: 8,000, 16,000, 32,000 or 48,000 Hz.
        end_silence_s: how long somebody is silent who has ended.
        min_speech_s: what is shorter is a cough.
        max_turn_s: a longer turn is given out in parts.
        before_s: how much is kept of the time before speech was noticed.
        strictness: 0–3, how sure it must be that a sound is speech.
    """

    def __init__(
        self,
        sampling_rate: int = 16_000,
        *,
        end_silence_s: float = 0.7,
        min_speech_s: float = 0.2,
        max_turn_s: float = 30.0,
        before_s: float = 0.3,
        strictness: int = 2,
    ) -> None:
        import webrtcvad

        if sampling_rate not in RATES:
            raise InvalidInput(f"sampling_rate is {sampling_rate}, must be one of {', '.join(map(str, RATES))}")
        self.sampling_rate = sampling_rate
        self._judge = webrtcvad.Vad(strictness)
        self._frame = int(FRAME_S * sampling_rate)
        self._end_frames, self._min_frames = round(end_silence_s / FRAME_S), round(min_speech_s / FRAME_S)
        self._max_frames = round(max_turn_s / FRAME_S)
        self._rest: Samples = np.zeros(0, np.int16)
        self._before: deque[Samples] = deque(maxlen=max(round(before_s / FRAME_S), 1))
        self._turn: list[Samples] = []
        self._voiced = self._silent = self._seen = 0

    @property
    def is_speaking(self) -> bool:
        """Whether somebody is in the middle of a turn, for one who interrupts."""
        return bool(self._turn) and self._voiced >= self._min_frames

    def feed(self, samples: Samples) -> list[Turn]:
        """Take samples int16 (n_samples,), any number of them; returns the turns that have ended."""
        self._rest = np.concatenate([self._rest, samples])
        turns = []
        while len(self._rest) >= self._frame:
            frame, self._rest = self._rest[: self._frame], self._rest[self._frame :]
            turns += self._take(frame)
        return turns

    def finish(self) -> list[Turn]:
        """The turn that was under way when the microphone was closed."""
        return self._end() if self._turn else []

    def _take(self, frame: Samples) -> list[Turn]:
        self._seen += 1
        is_voice = self._judge.is_speech(frame.tobytes(), self.sampling_rate)
        if not self._turn and not is_voice:
            self._before.append(frame)
            return []
        if not self._turn:
            self._turn = list(self._before)
        self._turn.append(frame)
        self._voiced += is_voice
        self._silent = 0 if is_voice else self._silent + 1
        return self._end() if self._silent >= self._end_frames or len(self._turn) >= self._max_frames else []

    def _end(self) -> list[Turn]:
        start = (self._seen - len(self._turn)) * FRAME_S
        turn = Turn(np.concatenate(self._turn), self.sampling_rate, round(start, 3))
        is_speech = self._voiced >= self._min_frames
        self._before.extend(self._turn[-(self._before.maxlen or 1) :])
        self._turn, self._voiced, self._silent = [], 0, 0
        return [turn] if is_speech else []


def turns(blocks: Iterable[Samples], detector: TurnDetector | None = None) -> Iterator[Turn]:
    """The turns in blocks of samples int16 as they come from a microphone.

    >>> for turn in turns(microphone):
    ...     reply = client.converse(turn.audio, sampling_rate=turn.sampling_rate)
    """
    detector = detector or TurnDetector()
    for block in blocks:
        yield from detector.feed(block)
    yield from detector.finish()


def blocks_of(path: str | PathLike[str], block_s: float = 0.1) -> Iterator[Samples]:
    """A mono WAV file of 16-bit samples as a microphone would give it; the detector needs its sampling rate.

    Raises: InvalidInput: another kind of file.
    """
    with soundfile.SoundFile(path) as file:
        if (file.channels, file.subtype) != (1, "PCM_16"):
            raise InvalidInput(f"{path} must be a mono WAV file of 16-bit samples")
        yield from file.blocks(int(block_s * file.samplerate), dtype="int16")
