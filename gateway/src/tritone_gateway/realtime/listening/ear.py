"""What comes from a microphone: kept while it may be needed, listened to, and cut into turns."""

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from openai.types.realtime.realtime_audio_input_turn_detection import SemanticVad, ServerVad

from tritone_gateway.errors import ApiError, invalid
from tritone_gateway.realtime.configuration import Detection
from tritone_gateway.realtime.events import new_id
from tritone_gateway.realtime.listening.activity import FRAME, VoiceActivity
from tritone_gateway.realtime.listening.hearing import Hearing
from tritone_gateway.realtime.listening.smart_turn import HOW, smart_turn
from tritone_gateway.realtime.sound import HEARD_RATE, Decoder

Samples = npt.NDArray[np.int16]
WIDTH = 2  # bytes of a sample
AT_ONCE = 16  # frames that are listened to before others have their turn
THRESHOLD = 0.5
PADDING_MS = 300
ASK_AFTER_MS = 200.0  # of silence: then Smart Turn is asked
# How likely it must be that somebody has finished, and how long he may be silent where it is not, in ms.
EAGERNESS = {"low": (0.7, 8000.0), "medium": (0.5, 4000.0), "auto": (0.5, 4000.0), "high": (0.3, 2000.0)}


@dataclass
class Turn:
    """Somebody speaks."""

    item_id: str
    begin: int  # samples since the session began
    speech_end: int
    hearing: Hearing
    finished: float | None = None  # how likely he has, by Smart Turn, in this pause


class Listener(Protocol):
    """Who is told of turns."""

    async def speech_started(self, item_id: str, start_ms: int) -> Hearing:
        """Somebody begins to speak; returns who hears his words."""

    async def speech_stopped(self, turn: Turn, samples: Samples, end_ms: int) -> None:
        """He has ended; samples int16 (n_samples,) at 16 kHz."""


class Ear:
    """The input buffer of a session. Its clock is the sound that came.

    Args:
        listener: is told of turns.
        max_s: of sound that is not yet committed.
        smart_turn: the folder of that model, where it can be had.
    """

    def __init__(self, listener: Listener, max_s: float, smart_turn: Path | None) -> None:
        self._listener, self._max_s, self._smart_turn = listener, max_s, smart_turn
        self.detection: Detection = None
        self.turn: Turn | None = None
        self._decoder: Decoder | None = None
        self._activity: VoiceActivity | None = None
        self._sound = bytearray()  # samples int16 at 16 kHz
        self._begin = 0  # of what is kept, in samples since the session began
        self._listened = 0  # up to here

    @property
    def end(self) -> int:
        """Samples since the session began."""
        return self._begin + len(self._sound) // WIDTH

    @property
    def end_ms(self) -> int:
        """The same in milliseconds."""
        return _ms(self.end)

    async def append(self, sound: bytes, format: str) -> None:
        """Sound in a format of the session's.

        Raises: ApiError: 400: more than may be kept.
        """
        if self._decoder is not None and self._decoder.format != format:
            self._end_sound()
        self._decoder = self._decoder or Decoder(format)
        samples = self._decoder.feed(sound)
        kept_s = (self.end - self._begin + len(samples)) / HEARD_RATE
        if self.detection is None and kept_s > self._max_s:
            message = f"the buffer would hold {kept_s:.1f} s of sound, the limit is {self._max_s:g}: commit or clear it"
            raise invalid(message, "audio", "input_audio_buffer_full")
        self._sound += samples.tobytes()
        if self.detection is not None:
            await self._listen(self.detection)

    def take(self) -> tuple[Samples, Turn | None]:
        """All that is kept, which is no longer; and who was just speaking."""
        self._end_sound()
        turn, taken = self.turn, self._samples(self._begin, self.end)
        self._forget(self.end)
        self.turn = None
        if self._activity is not None:
            self._activity.reset()
        return taken, turn

    async def stop(self) -> None:
        """Hear no more of the present turn."""
        if self.turn is not None:
            await self.turn.hearing.stop()
            self.turn = None
        if self._activity is not None:
            self._activity.reset()

    async def close(self) -> None:
        """Hear no more at all, and hold nothing: the detector's memory is not Python's to find."""
        await self.stop()
        self._sound.clear()
        self._activity = None

    def _end_sound(self) -> None:
        """Keep the last of it, which the decoder holds back; what comes next has no part in it."""
        if self._decoder is not None:
            self._sound += self._decoder.end().tobytes()
            self._decoder = None

    async def _listen(self, detection: ServerVad | SemanticVad) -> None:
        activity = self._activity = self._activity or VoiceActivity()
        for count in itertools.count():
            if count % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            self._listened = max(self._listened, self._begin)  # which may have been taken meanwhile
            if self.end - self._listened < FRAME:
                return
            frame = self._samples(self._listened, self._listened + FRAME)
            activity.feed(frame, getattr(detection, "threshold", None) or THRESHOLD)
            self._listened += FRAME
            if self.turn is not None:
                await self._go_on(self.turn, activity, detection)
            elif activity.is_speech:
                await self._start(detection)
            else:
                self._forget(self._listened - _samples(_padding(detection)) - 2 * FRAME)

    async def _start(self, detection: ServerVad | SemanticVad) -> None:
        begin = max(self._begin, self._listened - 2 * FRAME - _samples(_padding(detection)))
        self._forget(begin)
        item_id = new_id("item")
        hearing = await self._listener.speech_started(item_id, _ms(begin))
        self.turn = Turn(item_id, begin, self._listened, hearing)

    async def _go_on(self, turn: Turn, activity: VoiceActivity, detection: ServerVad | SemanticVad) -> None:
        if not activity.silent_ms:
            turn.speech_end, turn.finished = self._listened, None
        size = self._listened - self._begin
        turn.hearing.grow(lambda: self._samples(self._begin, self._listened), size, activity.silent_ms)
        too_long = size / HEARD_RATE >= self._max_s
        if too_long or await self._has_ended(turn, activity.silent_ms, detection):
            samples, self.turn = self._samples(self._begin, self._listened), None
            self._forget(self._listened)
            activity.reset()
            await self._listener.speech_stopped(turn, samples, _ms(self._listened))

    async def _has_ended(self, turn: Turn, silent_ms: float, detection: ServerVad | SemanticVad) -> bool:
        if isinstance(detection, ServerVad):
            return silent_ms >= (detection.silence_duration_ms or 0)
        bar, longest_ms = EAGERNESS[detection.eagerness or "auto"]
        if silent_ms >= ASK_AFTER_MS and turn.finished is None:
            turn.finished = await self._ask()
        return silent_ms >= longest_ms or (silent_ms >= ASK_AFTER_MS and (turn.finished or 0) >= bar)

    async def _ask(self) -> float:
        if self._smart_turn is None:
            raise ApiError(400, no_smart_turn(), code="smart_turn_missing")
        sound, loop = self._samples(self._begin, self._listened), asyncio.get_running_loop()
        model = await asyncio.to_thread(smart_turn, self._smart_turn)  # which is loaded once
        return await loop.run_in_executor(model.thread, model.complete, sound)

    def _samples(self, begin: int, end: int) -> Samples:
        """Those between two places, in samples since the session began."""
        return np.frombuffer(bytes(self._sound[(begin - self._begin) * WIDTH : (end - self._begin) * WIDTH]), np.int16)

    def _forget(self, until: int) -> None:
        """Let go of what came before."""
        if until > self._begin:
            del self._sound[: (until - self._begin) * WIDTH]
            self._begin = until


def no_smart_turn() -> str:
    """Why semantic_vad is refused."""
    return f"semantic_vad needs the model smart_turn, which is not there: {HOW}"


def _padding(detection: ServerVad | SemanticVad) -> int:
    own = getattr(detection, "prefix_padding_ms", None)
    return PADDING_MS if own is None else int(own)


def _samples(ms: float) -> int:
    return round(ms * HEARD_RATE / 1000)


def _ms(samples: int) -> int:
    return round(1000 * samples / HEARD_RATE)
