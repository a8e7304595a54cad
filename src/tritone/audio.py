"""Sound files in and out: encoded bytes → mono float32 at 16 kHz, and samples → WAV bytes.

Loudness is never touched: no gain, no clipping, no normalisation. This module knows files and samples; it knows
nothing of spectrograms, models or Triton.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from tritone.errors import InvalidInput

SAMPLING_RATE = 16_000  # Hz; what Whisper and wav2vec2 hear

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3"})  # libsndfile's names
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
    """Decode a WAV, FLAC, OGG or MP3 file to mono float32 (n_samples,) at 16 kHz, n_samples ≥ 1.

    Channels are averaged. Raises InvalidInput if the bytes are empty, too many, no such file, damaged, without a
    sample, not finite, or longer than `max_seconds`; the length is checked in the header, before decoding.
    """
    check_size(audio_bytes, max_bytes)
    with _open(audio_bytes) as file:
        _check_header(file, max_seconds)
        samples, rate = _read(file, max_seconds), file.samplerate
    check_audio(samples, max_seconds, rate)  # before resampling, which spreads a single NaN
    audio = soxr.resample(samples, rate, SAMPLING_RATE) if rate != SAMPLING_RATE else samples
    return check_audio(audio[: int(max_seconds * SAMPLING_RATE)], max_seconds)  # resampling may round up


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
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 1.0), sampling_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def file_format(name: str) -> str:
    """A name of FILE_FORMATS in lower case; raises InvalidInput if it is none."""
    if name.lower() not in FILE_FORMATS:
        raise InvalidInput(f"response_format is {name!r}, it must be one of {', '.join(FILE_FORMATS)}")
    return name.lower()


def encode(audio: Audio, sampling_rate: int, name: str) -> bytes:
    """Sound file of mono samples float32 (n_samples,), of the format `name`; samples beyond ±1 are clipped."""
    container, encoding = FILE_FORMATS[name]
    if name == "opus":
        audio, sampling_rate = soxr.resample(audio, sampling_rate, OPUS_RATE), OPUS_RATE
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 1.0), sampling_rate, format=container, subtype=encoding)
    return file.getvalue()


def check_size(audio_bytes: bytes, max_bytes: int) -> None:
    """Raise InvalidInput if the file is empty or larger than `max_bytes`."""
    if not audio_bytes:
        raise InvalidInput("audio_bytes is empty (0 bytes): send a WAV, FLAC, OGG or MP3 file")
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
        raise InvalidInput(f"audio_bytes is no readable WAV, FLAC, OGG or MP3 file ({_reason(error)})") from error
    if file.format not in FORMATS:
        raise InvalidInput(f"audio_bytes is a file of type {file.format}; send WAV, FLAC, OGG or MP3")
    return file


def _check_header(file: _File, max_seconds: float) -> None:
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise InvalidInput(
            f"the audio file states {file.samplerate:,} samples a second, accepted are {LOWEST_RATE:,}–{HIGHEST_RATE:,}"
        )
    if file.channels > MAX_CHANNELS:
        raise InvalidInput(f"the audio file has {file.channels} channels, the limit is {MAX_CHANNELS}")
    if _states_its_length(file):
        _check_duration(file.frames / file.samplerate, max_seconds)


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


def _check_samples(audio: Audio) -> None:
    if not np.isfinite(audio).all():
        raise InvalidInput("the audio holds samples that are no numbers (NaN or infinity)")
    peak = float(np.abs(audio).max(initial=0.0))
    if peak > MAX_AMPLITUDE:
        raise InvalidInput(f"the audio's largest sample is {peak:.4g}; samples are floats from −1 to 1")


def _reason(error: Exception) -> str:
    """The library's own words, without the address of the in-memory file."""
    return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
