"""Sound files written as the sound comes, by FFmpeg (PyAV)."""

from __future__ import annotations

from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

RATE = 24_000  # Hz; what clients take pcm for
# Format: FFmpeg's container, its codec, the layout of samples, and the media type.
FORMATS = {
    "mp3": ("mp3", "libmp3lame", "s16p", "audio/mpeg"),
    "opus": ("ogg", "libopus", "s16", "audio/ogg"),
    "aac": ("adts", "aac", "fltp", "audio/aac"),
    "flac": ("flac", "flac", "s16", "audio/flac"),
    "wav": ("wav", "pcm_s16le", "s16", "audio/wav"),
    "pcm": ("s16le", "pcm_s16le", "s16", "audio/pcm"),
}
FORMATS["pcm16"] = FORMATS["pcm"]
_OPTIONS = {"ogg": {"page_duration": "100000"}, "mp3": {"write_xing": "0"}}  # page_duration in µs


class Encoder:
    """One sound file, mono at 24 kHz, which grows. As nobody can go back in a stream, a WAV's length is "unknown".

    Args:
        format: one of FORMATS.
    """

    def __init__(self, format: str) -> None:
        container, codec, layout, self.media_type = FORMATS[format]
        self._sink = _Sink()
        # Little is held back, as a clause is to be heard when it is spoken; and no index of what is yet to come.
        options = {"flush_packets": "1", **_OPTIONS.get(container, {})}
        self._file = av.open(self._sink, "w", format=container, options=options, buffer_size=4096)
        self._stream = cast(AudioStream, self._file.add_stream(codec, rate=RATE, layout="mono", format=layout))
        self._layout = layout
        self._resampler: AudioResampler | None = None
        self._rate = 0
        self._written = 0  # samples, at RATE
        self.seconds = 0.0  # of sound that was given

    def feed(self, audio: npt.NDArray[np.float32], sampling_rate: int) -> bytes:
        """The next bytes of the file, after samples float32 (n_samples,) in −1..1; may be none yet."""
        self.seconds += len(audio) / sampling_rate
        if sampling_rate != self._rate:
            self._drain_resampler()
            self._resampler = AudioResampler(self._layout, "mono", RATE, self._frame_size())
            self._rate = sampling_rate
        frame = AudioFrame.from_ndarray(audio.clip(-1, 1).reshape(1, -1), "flt", "mono")
        frame.sample_rate = sampling_rate
        assert self._resampler is not None
        self._encode(self._resampler.resample(frame))
        return self._sink.taken()

    def end(self) -> bytes:
        """The last bytes."""
        self._drain_resampler()
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._sink.taken()

    def _drain_resampler(self) -> None:
        if self._resampler is not None:
            self._encode(self._resampler.resample(None))

    def _encode(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            frame.pts = self._written
            self._written += frame.samples
            self._file.mux(self._stream.encode(frame))

    def _frame_size(self) -> int:
        """Samples that the codec takes at a time; 0 is any number."""
        self._stream.codec_context.open(strict=False)
        return int(self._stream.codec_context.frame_size or 0)


class _Sink:
    """What FFmpeg writes into. It has no `seek`, which tells FFmpeg that this is a stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: Any) -> int:
        self._bytes += data
        return len(data)

    def taken(self) -> bytes:
        taken, self._bytes = bytes(self._bytes), bytearray()
        return taken
