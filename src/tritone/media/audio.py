"""Samples: what may pass for sound, other rates, files out (`sound_files` reads them), and features for training.

Loudness is never touched. This module knows nothing of models or Triton.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tritone.errors import InvalidInput

SAMPLING_RATE = 16_000  # Hz; what Whisper and wav2vec2 hear

# Float files may exceed ±1 a little. Samples this large are 16-bit integers sent as floats, or garbage whose power
# would overflow float32.
MAX_AMPLITUDE = 1_000.0
# What `encode` writes: libsndfile's format and subtype, and FFmpeg's container and codec.
FILE_FORMATS = {
    **{"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16")},
    **{"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS")},
    **{"aac": ("adts", "aac"), "pcm": ("RAW", "PCM_16")},
}
BYTE_ORDER = {"pcm": "LITTLE"}  # of what has no header; the others say theirs
OPUS_RATE = 48_000  # Hz; Opus itself knows no other rate
Audio = NDArray[np.float32]


def resample(audio: Audio, rate: int, new_rate: int) -> Audio:
    """Samples float32 (n_samples,) at another rate, in Hz."""
    resampled: Audio = soxr.resample(audio, rate, new_rate) if rate != new_rate else audio
    return resampled


def check_audio(audio: Audio, max_seconds: float, sampling_rate: int = SAMPLING_RATE) -> Audio:
    """Return samples (n_samples,) unchanged (as float32), or raise InvalidInput if they are not usable audio.

    Usable: one axis, at least one sample, finite, within ±MAX_AMPLITUDE, at most `max_seconds` at `sampling_rate`.
    """
    if audio.ndim != 1:
        raise InvalidInput(f"audio must be one row of samples, shape [n]; got shape {list(audio.shape)}")
    check_duration(audio.shape[0] / sampling_rate, max_seconds)
    check_samples(audio)
    return np.ascontiguousarray(audio, dtype=np.float32)


def encode_wav(audio: Audio, sampling_rate: int) -> bytes:
    """16-bit PCM WAV file of mono samples float32 (n_samples,) within ±1; louder samples are clipped."""
    return encode(audio, sampling_rate, "wav")


def file_format(name: str) -> str:
    """A name of FILE_FORMATS in lower case; raises InvalidInput if it is none."""
    if name.lower() not in FILE_FORMATS:
        raise InvalidInput(f"response_format is {name[:40]!r}, it must be one of {', '.join(FILE_FORMATS)}")
    return name.lower()


def encode(audio: Audio, sampling_rate: int, name: str) -> bytes:
    """Sound file of mono samples float32 (n_samples,), of the format `name`; samples beyond ±1 are clipped.

    Its rate is `sampling_rate`; that of "opus" is OPUS_RATE. "pcm" is 16-bit little-endian samples without a header,
    "aac" a stream of ADTS frames, whose decoders give 1,024 samples more at the start.
    """
    container, encoding = FILE_FORMATS[name]
    if name == "aac":
        return _encode_by_ffmpeg(audio, sampling_rate, container, encoding)
    if name == "opus":
        audio, sampling_rate = resample(audio, sampling_rate, OPUS_RATE), OPUS_RATE
    file = io.BytesIO()
    clipped = np.clip(audio, -1.0, 1.0)
    soundfile.write(file, clipped, sampling_rate, format=container, subtype=encoding, endian=BYTE_ORDER.get(name))
    return file.getvalue()


def _encode_by_ffmpeg(audio: Audio, sampling_rate: int, container: str, codec: str) -> bytes:
    import av  # megabytes that who only reads samples can save

    file = io.BytesIO()
    with av.open(file, "w", format=container) as written:
        track: Any = written.add_stream(codec, rate=sampling_rate, layout="mono")
        for packet in [*track.encode(_frame(np.clip(audio, -1.0, 1.0), sampling_rate)), *track.encode(None)]:
            written.mux(packet)
    return file.getvalue()


def at_tempo(audio: Audio, sampling_rate: int, tempo: float) -> Audio:
    """Samples float32 (n_samples,) of the same pitch, `tempo` times as fast: FFmpeg's `atempo`, 0.5 to 100."""
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_abuffer(format="fltp", layout="mono", sample_rate=sampling_rate)
    graph.link_nodes(source, graph.add("atempo", str(tempo)), graph.add("abuffersink")).configure()
    parts: list[Audio] = []
    behind = np.zeros(sampling_rate // 5, np.float32)  # of the end the filter keeps up to a window of its own
    for frame in (_frame(np.concatenate([audio, behind]), sampling_rate), None):
        graph.push(frame)
        with contextlib.suppress(av.BlockingIOError, av.EOFError):
            while True:
                parts.append(graph.pull().to_ndarray()[0])
    return np.concatenate(parts)[: round(len(audio) / tempo)]


def _frame(audio: Audio, sampling_rate: int) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[None], np.float32), format="fltp", layout="mono")
    frame.sample_rate = sampling_rate
    return frame


def check_duration(seconds: float, max_seconds: float) -> None:
    """Raise InvalidInput if there is nothing, or too much."""
    if seconds <= 0:
        raise InvalidInput("the audio has no samples (0 s)")
    if seconds > max_seconds:
        raise InvalidInput(f"the audio is {seconds:.2f} s long, the limit is {max_seconds:g} s")


def check_samples(audio: NDArray[np.float32]) -> None:
    """Raise InvalidInput if samples of any shape are not finite or beyond ±MAX_AMPLITUDE."""
    loudest = peak(audio)
    if not np.isfinite(loudest):
        raise InvalidInput("the audio holds samples that are no numbers (NaN or infinity)")
    if loudest > MAX_AMPLITUDE:
        raise InvalidInput(f"the audio's largest sample is {loudest:.4g}; samples are floats from −1 to 1")


def peak(audio: NDArray[np.float32]) -> float:
    """The largest absolute sample, NaN if one is; unlike `abs(audio).max()` without a copy."""
    return max(float(audio.max()), -float(audio.min())) if audio.size else 0.0


# ---- for training


def trim(audio: Audio, top_db: float = 60.0) -> Audio:
    """Samples (n_samples,) without the silence at both ends: what is `top_db` below the loudest frame."""
    import librosa  # seconds that a decoder can save; so below

    trimmed, _ = librosa.effects.trim(audio, top_db=top_db)
    return np.asarray(trimmed, dtype=np.float32)


def mel_features(
    audio: Audio, sampling_rate: int = SAMPLING_RATE, n_mels: int = 80, n_fft: int = 1_024, hop_length: int = 256
) -> NDArray[np.float32]:
    """Log-mel spectrogram float32 (n_mels, 1 + n_samples // hop_length): natural logarithm, floor 1e-5, as vocoders and
    Tacotron 2 are trained on it."""
    import librosa

    mel = librosa.feature.melspectrogram(
        y=audio, sr=sampling_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, power=1.0
    )
    return np.asarray(np.log(np.maximum(mel, 1e-5)), dtype=np.float32)


def pad(rows: Sequence[NDArray[np.float32]], value: float = 0.0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows (..., n) as one batch (rows, ..., longest), filled up with `value`, and their lengths (rows,)."""
    import librosa

    if not rows:
        raise ValueError("pad got no rows")
    lengths = np.array([row.shape[-1] for row in rows], np.int64)
    longest = int(lengths.max())
    padded = [librosa.util.fix_length(row, size=longest, axis=-1, constant_values=value) for row in rows]
    return np.stack(padded).astype(np.float32), lengths
