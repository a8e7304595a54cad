"""The machine's microphone and loudspeaker, by sounddevice (package extra `microphone`)."""

import queue
import threading
import time
from collections.abc import Generator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tritone_client import InvalidInput, Speech, TurnDetector

Samples = npt.NDArray[np.int16]
RATE = 16_000  # Hz, what the turn detector and the server hear
BLOCK = 480  # samples, 30 ms: what the turn detector judges at a time
EXTRA = "pip install 'tritone-client[microphone]'"
_LOOK_S = 0.02  # between two looks whether all is played


class NoSound(InvalidInput):
    """This machine has no microphone or no loudspeaker that can be used."""


class Player(Protocol):
    """What speech is played on."""

    def play(self, speech: Speech) -> None:
        """Play it after what is still to be played; does not wait."""

    def is_silent(self) -> bool:
        """Whether all has been played."""

    def stop(self) -> float:
        """Be silent at once; the seconds that were heard since the last `stop`."""


def microphone() -> Generator[Samples, None, None]:
    """Blocks of samples int16 (480,) at 16 kHz, without end; closing the iterator closes the microphone.

    Raises: NoSound: there is none.
    """
    device = _sounddevice()
    blocks: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def take(samples: Samples, *_: Any) -> None:
        blocks.put(samples[:, 0].copy())

    with _opened(device, "InputStream", samplerate=RATE, blocksize=BLOCK, dtype="int16", callback=take):
        while True:
            yield blocks.get()


def detector() -> TurnDetector:
    """What finds turns in the microphone's blocks.

    Raises: NoSound: its package is not installed.
    """
    try:
        return TurnDetector(RATE)
    except ImportError as error:
        raise NoSound(f"a microphone needs the extra: {EXTRA}") from error


class Loudspeaker:
    """Plays speech while other things are done.

    Raises: NoSound: there is no loudspeaker.
    """

    def __init__(self) -> None:
        self._device = _sounddevice()
        try:
            self._device.query_devices(kind="output")
        except (self._device.PortAudioError, ValueError) as error:
            raise NoSound(f"this machine plays no sound: {error}") from error
        self._lock = threading.Lock()
        self._waiting = np.zeros(0, np.float32)
        self._played = 0  # samples since the last `stop`
        self._rate = 0
        self._stream: Any = None

    def play(self, speech: Speech) -> None:
        """See Player."""
        if self._stream is None or self._rate != speech.sampling_rate:
            self._open(speech.sampling_rate)
        with self._lock:
            self._waiting = np.concatenate([self._waiting, speech.audio])

    def is_silent(self) -> bool:
        """See Player."""
        with self._lock:
            return not len(self._waiting)

    def stop(self) -> float:
        """See Player."""
        with self._lock:
            seconds = self._played / self._rate if self._rate else 0.0
            self._waiting, self._played = self._waiting[:0], 0
        return seconds

    def _open(self, rate: int) -> None:
        """A stream of that rate, once what was to be played at another one is played."""
        until_silent(self)
        if self._stream is not None:
            self._stream.close()
        self._rate = rate
        self._stream = _opened(self._device, "OutputStream", samplerate=rate, dtype="float32", callback=self._fill)
        self._stream.start()

    def _fill(self, out: npt.NDArray[np.float32], frames: int, *_: Any) -> None:
        """Called by sounddevice, in its own thread, for the next samples float32 (frames, 1)."""
        with self._lock:
            now, self._waiting = self._waiting[:frames], self._waiting[frames:]
            self._played += len(now)
        out[: len(now), 0] = now
        out[len(now) :] = 0


def until_silent(player: Player) -> None:
    """Wait until all has been played."""
    while not player.is_silent():
        time.sleep(_LOOK_S)


def _opened(device: Any, kind: str, **settings: Any) -> Any:
    try:
        return getattr(device, kind)(channels=1, **settings)
    except (device.PortAudioError, ValueError) as error:
        what = "hears nothing" if kind == "InputStream" else "plays no sound"
        raise NoSound(f"this machine {what}: {error}") from error


def _sounddevice() -> Any:
    try:
        import sounddevice  # only here: it looks for the machine's devices when it is imported
    except ImportError as error:
        raise NoSound(f"sound on this machine needs the extra: {EXTRA}") from error
    except OSError as error:
        raise NoSound(f"sound on this machine needs PortAudio, Debian's libportaudio2: {error}") from error
    return sounddevice
