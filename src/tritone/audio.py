"""Sound files in and out: encoded bytes → mono float32 at 16 kHz, and samples → WAV bytes.

Loudness is never touched: no gain, no clipping, no normalisation. This module knows files and samples, and prepares
them for training (`trim`, `mel_features`, `pad`); it knows nothing of models or Triton.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tritone.errors import InvalidInput

SAMPLING_RATE = 16_000  # Hz; what Whisper and wav2vec2 hear

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"})  # libsndfile's names
# What libsndfile does not read goes to FFmpeg, which is told the container by the file's first bytes: (offset, bytes).
CONTAINERS = {"mp4": (4, b"ftyp"), "matroska": (0, b"\x1a\x45\xdf\xa3"), "aac": (0, b"\xff\xf1")}
ACCEPTED = "WAV, FLAC, OGG, MP3, M4A, AAC or WebM"
MAX_CHANNELS = 8  # 7.1; a Vorbis header may claim 255, which would be 255 times the memory
LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000  # Hz; outside of these a header is wrong or hostile
# Float files may exceed ±1 a little. Samples this large are 16-bit integers sent as floats, or garbage whose power
# would overflow float32.
MAX_AMPLITUDE = 1_000.0
# What `encode` writes: libsndfile's format and subtype.
FILE_FORMATS = {
    **{"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16")},
    **{"mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS")},
}
OPUS_RATE = 48_000  # Hz; Opus itself knows no other rate
SILENCE = 10 ** (-60 / 20)  # −60 dB of full scale; speech recognition invents words for less

Audio = NDArray[np.float32]


def decode(audio_bytes: bytes, max_bytes: int, max_seconds: float) -> Audio:
    """Decode a WAV, FLAC, OGG, MP3, M4A, AAC or WebM file to mono float32 (n_samples,) at 16 kHz, n_samples ≥ 1.

    Channels are averaged. Raises InvalidInput if the bytes are empty, too many, no such file, damaged, without a
    sample, not finite, or longer than `max_seconds`; the length is checked in the header, before decoding.
    """
    check_size(audio_bytes, max_bytes)
    if container := _container(audio_bytes):
        samples, rate = _read_container(audio_bytes, container, max_seconds)
    else:
        with _open(audio_bytes) as file:
            _check_header(file, max_seconds)
            samples, rate = _read(file, max_seconds), file.samplerate
    check_audio(samples, max_seconds, rate)  # before resampling, which spreads a single NaN
    audio = resample(samples, rate, SAMPLING_RATE)
    return check_audio(audio[: int(max_seconds * SAMPLING_RATE)], max_seconds)  # resampling may round up


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
    _check_duration(audio.shape[0] / sampling_rate, max_seconds)
    _check_samples(audio)
    return np.ascontiguousarray(audio, dtype=np.float32)


def is_silent(audio: Audio) -> bool:
    """Whether no sample (n_samples,) is louder than −60 dB of full scale."""
    return float(np.abs(audio).max(initial=0.0)) < SILENCE


def encode_wav(audio: Audio, sampling_rate: int) -> bytes:
    """16-bit PCM WAV file of mono samples float32 (n_samples,) within ±1; louder samples are clipped."""
    return encode(audio, sampling_rate, "wav")


def file_format(name: str) -> str:
    """A name of FILE_FORMATS in lower case; raises InvalidInput if it is none."""
    if name.lower() not in FILE_FORMATS:
        raise InvalidInput(f"response_format is {name!r}, it must be one of {', '.join(FILE_FORMATS)}")
    return name.lower()


def encode(audio: Audio, sampling_rate: int, name: str) -> bytes:
    """Sound file of mono samples float32 (n_samples,), of the format `name`; samples beyond ±1 are clipped."""
    container, encoding = FILE_FORMATS[name]
    if name == "opus":
        audio, sampling_rate = resample(audio, sampling_rate, OPUS_RATE), OPUS_RATE
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 1.0), sampling_rate, format=container, subtype=encoding)
    return file.getvalue()


def check_size(audio_bytes: bytes, max_bytes: int) -> None:
    """Raise InvalidInput if the file is empty or larger than `max_bytes`."""
    if not audio_bytes:
        raise InvalidInput(f"audio_bytes is empty (0 bytes): send a {ACCEPTED} file")
    if len(audio_bytes) > max_bytes:
        raise InvalidInput(f"audio_bytes has {len(audio_bytes):,} bytes, the limit is {max_bytes:,} bytes")


class _File(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A sound file read once from its start. (Seeking after a read fails at the open end of a streamed FLAC.)"""

    def seekable(self) -> bool:
        return False


def _open(audio_bytes: bytes) -> _File:
    try:
        file = _File(io.BytesIO(audio_bytes))
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: bytes that look like headerless RAW audio
        raise InvalidInput(f"audio_bytes is no readable {ACCEPTED} file ({_reason(error)})") from error
    if file.format not in FORMATS:
        raise InvalidInput(f"audio_bytes is a file of type {file.format}; send {ACCEPTED}")
    return file


def _check_header(file: _File, max_seconds: float) -> None:
    _check_layout(file.samplerate, file.channels)
    if _states_its_length(file):
        _check_duration(file.frames / file.samplerate, max_seconds)


def _check_layout(rate: int, channels: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidInput(
            f"the audio file states {rate:,} samples a second, accepted are {LOWEST_RATE:,}–{HIGHEST_RATE:,}"
        )
    if channels > MAX_CHANNELS:
        raise InvalidInput(f"the audio file has {channels} channels, the limit is {MAX_CHANNELS}")


def _states_its_length(file: _File) -> bool:
    """Whether the header's number of frames can be believed.

    A stream leaves it open (libsndfile then states its largest number), and in an MP3 it is an estimate.
    """
    return bool(file.format != "MP3" and file.frames < 2**62)


def _check_duration(seconds: float, max_seconds: float) -> None:
    if seconds <= 0:
        raise InvalidInput("the audio has no samples (0 s)")
    if seconds > max_seconds:
        raise InvalidInput(f"the audio is {seconds:.2f} s long, the limit is {max_seconds:g} s")


def _read(file: _File, max_seconds: float) -> Audio:
    """All samples, float32 (n_samples,); reads no more than a sample over `max_seconds`, whatever the header says."""
    limit = int(max_seconds * file.samplerate)
    try:
        samples = file.read(limit + 1, dtype="float32", always_2d=True)  # (n_samples, channels)
    except soundfile.LibsndfileError as error:
        raise InvalidInput(f"the audio file is damaged or cut short ({_reason(error)})") from error
    if len(samples) > limit:
        raise InvalidInput(f"the audio is longer than the limit of {max_seconds:g} s")
    if _states_its_length(file) and len(samples) < file.frames:
        raise InvalidInput(
            f"the audio file is cut short: its header states {file.frames:,} samples, {len(samples):,} are there"
        )
    return np.asarray(samples.mean(axis=1, dtype=np.float32))


def _container(audio_bytes: bytes) -> str | None:
    """FFmpeg's name for a file's container; None for what libsndfile reads."""
    for name, (offset, magic) in CONTAINERS.items():
        if audio_bytes[offset : offset + len(magic)] == magic:
            return name
    return None


def _read_container(audio_bytes: bytes, container: str, max_seconds: float) -> tuple[Audio, int]:
    """All samples of the first sound track, float32 (n_samples,), and their rate; no more than the limit is decoded."""
    try:
        with av.open(io.BytesIO(audio_bytes), format=container) as file:
            if not file.streams.audio:
                raise InvalidInput("the audio file has no sound track")
            track = file.streams.audio[0]
            rate = int(track.rate or 0)
            if not rate:  # nothing follows the container's first bytes
                raise ValueError("it ends before its first sample")
            _check_layout(rate, track.channels)
            parts = list(_mono(file, track, int(max_seconds * rate)))
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise InvalidInput(f"audio_bytes is no readable {ACCEPTED} file ({_reason(error)})") from error
    if not parts:
        raise InvalidInput("the audio has no samples (0 s)")
    samples = np.concatenate(parts)
    if len(samples) > max_seconds * rate:
        raise InvalidInput(f"the audio is longer than the limit of {max_seconds:g} s")
    return samples, rate


def _mono(file: Any, track: av.AudioStream, limit: int) -> Iterator[Audio]:
    """The channels' average, frame by frame, until there is more than `limit` samples."""
    to_float = av.AudioResampler(format="fltp")
    count = 0
    for frame in file.decode(track):
        for converted in to_float.resample(frame):
            samples = converted.to_ndarray()  # (channels, n_samples)
            yield samples.mean(axis=0, dtype=np.float32)
            count += samples.shape[1]
        if count > limit:
            return


def _check_samples(audio: Audio) -> None:
    if not np.isfinite(audio).all():
        raise InvalidInput("the audio holds samples that are no numbers (NaN or infinity)")
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > MAX_AMPLITUDE:
        raise InvalidInput(f"the audio's largest sample is {peak:.4g}; samples are floats from −1 to 1")


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


def _reason(error: Exception) -> str:
    """The library's own words, without the address of the in-memory file."""
    return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
