"""Sound of a session: from what comes (PCM at 24 kHz, µ-law and A-law at 8 kHz) to 16 kHz, and back."""

from functools import lru_cache
from typing import Any, Literal, cast

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

HEARD_RATE = 16_000  # Hz; of what is listened to
Format = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
RATES: dict[str, int] = {"audio/pcm": 24_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}
WIDTHS: dict[str, int] = {"audio/pcm": 2, "audio/pcmu": 1, "audio/pcma": 1}  # bytes of a sample
_LAWS = {"audio/pcmu": "pcm_mulaw", "audio/pcma": "pcm_alaw"}
_LOUDEST = 32_767


class Decoder:
    """Makes 16 kHz of what comes; as a stream, so that nothing is heard where one piece meets the next.

    Args:
        format: of what comes.
    """

    def __init__(self, format: str) -> None:
        self.format = format
        self._resampler = soxr.ResampleStream(RATES[format], HEARD_RATE, 1, dtype="float32")
        self._half = b""  # a sample of which only the first byte has come

    def feed(self, sound: bytes) -> npt.NDArray[np.int16]:
        """The samples int16 (n_samples,) that are there after these bytes."""
        whole = self._half + sound
        end = len(whole) - len(whole) % WIDTHS[self.format]
        self._half = whole[end:]
        samples = linear(whole[:end], self.format).astype(np.float32) / (_LOUDEST + 1)
        return _int16(self._resampler.resample_chunk(samples))

    def end(self) -> npt.NDArray[np.int16]:
        """The last samples, up to 0.1 s of them; half a sample is nothing."""
        return _int16(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))


class Encoder:
    """Makes what goes out of clauses of any rate; as a stream, so that no click is heard between them.

    Args:
        format: of what goes out.
    """

    def __init__(self, format: str) -> None:
        self.format = format
        self._rate = 0
        self._resampler: Any = None

    def feed(self, audio: npt.NDArray[np.float32], sampling_rate: int) -> bytes:
        """The next bytes, after samples float32 (n_samples,) in −1..1."""
        before = self.end() if sampling_rate != self._rate else b""
        if self._resampler is None:
            self._rate = sampling_rate
            self._resampler = soxr.ResampleStream(sampling_rate, RATES[self.format], 1, dtype="float32")
        return before + self._written(audio.astype(np.float32), last=False)

    def end(self) -> bytes:
        """The last bytes."""
        if self._resampler is None:
            return b""
        rest = self._written(np.zeros(0, np.float32), last=True)
        self._resampler = None
        return rest

    def _written(self, audio: npt.NDArray[np.float32], last: bool) -> bytes:
        return encoded(_int16(self._resampler.resample_chunk(audio, last=last)), self.format)


def resampled(samples: npt.NDArray[np.int16], format: str) -> bytes:
    """What was heard, samples int16 (n_samples,) at 16 kHz, in the format in which it came."""
    audio = soxr.resample(samples.astype(np.float32) / (_LOUDEST + 1), HEARD_RATE, RATES[format])
    return encoded(_int16(audio), format)


def linear(sound: bytes, format: str) -> npt.NDArray[np.int16]:
    """Samples int16 (n_samples,) of encoded ones."""
    if format == "audio/pcm":
        return np.frombuffer(sound, "<i2").astype(np.int16)
    return _of_law(_LAWS[format])[np.frombuffer(sound, np.uint8)]


def encoded(samples: npt.NDArray[np.int16], format: str) -> bytes:
    """The bytes of samples int16 (n_samples,)."""
    if format == "audio/pcm":
        return samples.astype("<i2").tobytes()
    return _to_law(_LAWS[format])[samples.view(np.uint16)].tobytes()


def seconds_of(size: int, format: str) -> float:
    """How long so many bytes sound."""
    return size / (RATES[format] * WIDTHS[format])


def _int16(audio: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return (audio.clip(-1, 1) * _LOUDEST).round().astype(np.int16)


@lru_cache
def _of_law(codec: str) -> npt.NDArray[np.int16]:
    """What each of the 256 bytes stands for, by FFmpeg: int16 (256,)."""
    decoder = _opened(codec, "r")
    frames = decoder.decode(av.Packet(bytes(range(256)))) + decoder.decode(None)
    samples: Any = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    return np.asarray(samples, np.int16)


@lru_cache
def _to_law(codec: str) -> npt.NDArray[np.uint8]:
    """The byte for each sample, by FFmpeg: uint8 (65536,), in the order of unsigned numbers."""
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16)
    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", "mono")
    frame.sample_rate = 8_000
    encoder = _opened(codec, "w")
    packets = encoder.encode(frame) + encoder.encode(None)
    return np.frombuffer(b"".join(bytes(packet) for packet in packets), np.uint8)


def _opened(codec: str, mode: Literal["r", "w"]) -> AudioCodecContext:
    context = cast(AudioCodecContext, av.CodecContext.create(codec, mode))
    context.sample_rate, context.layout, context.format = 8_000, "mono", "s16"
    return context
