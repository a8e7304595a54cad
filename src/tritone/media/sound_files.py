"""Sound files in: encoded bytes → mono float32 at 16 kHz. Loudness is never touched.

A file is read a second at a time: what it costs follows its length, which is limited, and not what its header claims.
This module knows files; it knows nothing of models or Triton.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import soundfile

from tritone.errors import InvalidInput
from tritone.media import encoded
from tritone.media.audio import SAMPLING_RATE, Audio, check_duration
from tritone.media.mixdown import Block, Mixdown

ACCEPTED = "WAV, FLAC, OGG, MP3, M4A, AAC, WebM, AMR, 3GP, AIFF, CAF, AU or W64"  # for people; all errors say it so
FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU"})  # libsndfile's names
# What libsndfile does not read (of CAF it reads a part) goes to FFmpeg, which is told the container by the file's first
# bytes: (its name, offset, bytes).
CONTAINERS = (
    ("mp4", 4, b"ftyp"),  # M4A, 3GP, and films
    ("matroska", 0, b"\x1a\x45\xdf\xa3"),  # WebM
    ("aac", 0, b"\xff\xf1"),
    ("aac", 0, b"\xff\xf9"),
    ("amr", 0, b"#!AMR"),
    ("caf", 0, b"caff"),
)
# FFmpeg's decoders that a file may ask for: everybody's, and no others. Every PCM is one of them as well.
CODECS = frozenset({"aac", "opus", "vorbis", "mp3", "flac", "alac", "amr_nb", "amr_wb"})
PCM = "pcm_"
MAX_CHANNELS = 8  # 7.1; a Vorbis header may claim 255
LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000  # Hz; outside of these a header is wrong or hostile
# Samples of all channels together: four hours of stereo at 48 kHz, about 20 s of a processor. A few kilobytes of
# silence can claim 64 times as many.
MAX_SAMPLES = 2 * 48_000 * 14_400
BLOCK_SECONDS = 1.0


def decode(audio_bytes: bytes, max_bytes: int, max_seconds: float) -> Audio:
    """Decode a file of any kind in ACCEPTED to mono float32 (n_samples,) at 16 kHz, n_samples ≥ 1.

    The file may come as text (`tritone.media.encoded`). Channels are mixed as `Mixdown` says. Raises InvalidInput if
    the bytes are empty, too many, no such file, damaged, without a sample, not finite, longer than `max_seconds` or of
    more than MAX_SAMPLES; what the header states is checked before decoding.
    """
    audio_bytes = encoded.read(audio_bytes, "audio_bytes", max_bytes)
    check_size(audio_bytes, max_bytes)
    container = _container(audio_bytes)
    return _read_container(audio_bytes, container, max_seconds) if container else _read(audio_bytes, max_seconds)


def check_size(audio_bytes: bytes, max_bytes: int) -> None:
    """Raise InvalidInput if the file is empty or larger than `max_bytes`."""
    if not audio_bytes:
        raise InvalidInput(f"audio_bytes is empty (0 bytes): send a {ACCEPTED} file")
    if len(audio_bytes) > max_bytes:
        raise InvalidInput(f"audio_bytes has {len(audio_bytes):,} bytes, the limit is {max_bytes:,} bytes")


# ---- what libsndfile reads


class _File(soundfile.SoundFile):  # type: ignore[misc]  # soundfile ships no types
    """A sound file read once from its start. (Seeking after a read fails at the open end of a streamed FLAC.)"""

    def seekable(self) -> bool:
        return False


def _read(audio_bytes: bytes, max_seconds: float) -> Audio:
    with _open(_with_length(audio_bytes)) as file:
        _check_layout(file.samplerate, file.channels)
        if _states_its_length(file):
            check_duration(file.frames / file.samplerate, max_seconds)
            _check_samples(file.frames, file.channels)
        return _mixed(_blocks(file), file.samplerate, file.channels, max_seconds)


def _open(audio_bytes: bytes) -> _File:
    try:
        file = _File(io.BytesIO(audio_bytes))
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: bytes that look like headerless RAW audio
        raise InvalidInput(f"audio_bytes is no readable {ACCEPTED} file ({_reason(error)})") from error
    if file.format not in FORMATS:
        raise InvalidInput(f"audio_bytes is a file of type {file.format}; send {ACCEPTED}")
    return file


def _blocks(file: _File) -> Iterator[Block]:
    """The whole file, float32 (n_samples, channels) at a time."""
    size, count = int(BLOCK_SECONDS * file.samplerate), 0
    while True:
        try:
            block = file.read(size, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise InvalidInput(f"the audio file is damaged or cut short ({_reason(error)})") from error
        count += len(block)
        if len(block):
            yield block
        if len(block) < size:
            break
    if _states_its_length(file) and count < file.frames:
        raise InvalidInput(
            f"the audio file is cut short: its header states {file.frames:,} samples, {count:,} are there"
        )


def _states_its_length(file: _File) -> bool:
    """Whether the header's number of frames can be believed.

    A stream leaves it open (libsndfile then states its largest number), and in an MP3 it is an estimate.
    """
    return bool(file.format != "MP3" and file.frames < 2**62)


def _with_length(audio_bytes: bytes) -> bytes:
    """A file whose recorder never came back to write how long it is, with a length beyond its end.

    libsndfile reads such a file to its end, but takes a length of 0 for no sound at all.
    """
    place = _unfinished(audio_bytes)
    return audio_bytes if place is None else audio_bytes[:place] + b"\xff\xff\xff\xff" + audio_bytes[place + 4 :]


def _unfinished(audio_bytes: bytes) -> int | None:
    """Where the four bytes of a length stand that is 0 although sound follows."""
    if audio_bytes[:4] == b".snd":
        return 8 if not any(audio_bytes[8:12]) else None
    if audio_bytes[:4] != b"RIFF" or abs(_length(audio_bytes, 4) + 8 - len(audio_bytes)) <= 1:
        return None  # the length of all chunks is right: whoever wrote it has finished
    chunk = 12
    while audio_bytes[chunk : chunk + 4] not in (b"data", b""):
        length = _length(audio_bytes, chunk + 4)
        chunk += 8 + length + length % 2  # always onwards
    return chunk + 4 if audio_bytes[chunk : chunk + 4] and not _length(audio_bytes, chunk + 4) else None


def _length(audio_bytes: bytes, place: int) -> int:
    return int.from_bytes(audio_bytes[place : place + 4], "little")


# ---- what FFmpeg reads


def _container(audio_bytes: bytes) -> str | None:
    """FFmpeg's name for a file's container; None for what libsndfile reads."""
    for name, offset, magic in CONTAINERS:
        if audio_bytes[offset : offset + len(magic)] == magic:
            return name
    return None


def _read_container(audio_bytes: bytes, container: str, max_seconds: float) -> Audio:
    """The first sound track."""
    try:
        with av.open(io.BytesIO(audio_bytes), format=container) as file:
            if not file.streams.audio:
                raise InvalidInput("the audio file has no sound track")
            track = file.streams.audio[0]
            rate = int(track.rate or 0)
            if not rate:  # nothing follows the container's first bytes
                raise ValueError("it ends before its first sample")
            _check_codec(track.codec_context.codec)
            _check_layout(rate, track.channels)
            return _mixed(_joined(_frames(file, track), rate), rate, track.channels, max_seconds)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise InvalidInput(f"audio_bytes is no readable {ACCEPTED} file ({_reason(error)})") from error


def _check_codec(codec: Any) -> None:
    name = codec.canonical_name
    if name not in CODECS and not name.startswith(PCM):
        raise InvalidInput(f"the sound track is encoded as {name}; accepted are {', '.join(sorted(CODECS))} and PCM")


def _frames(file: Any, track: av.AudioStream) -> Iterator[Block]:
    """All frames, float32 (n_samples, channels), of one rate and layout whatever the stream changes to."""
    to_float = av.AudioResampler(format="fltp", layout=track.layout, rate=track.rate)
    for frame in file.decode(track):
        for converted in to_float.resample(frame):
            yield np.asarray(converted.to_ndarray().T, np.float32)


def _joined(frames: Iterator[Block], rate: int) -> Iterator[Block]:
    """Frames together, BLOCK_SECONDS at a time or a little more."""
    waiting: list[Block] = []
    for frame in frames:
        waiting.append(frame)
        if sum(map(len, waiting)) >= BLOCK_SECONDS * rate:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


# ---- both


def _mixed(blocks: Iterator[Block], rate: int, channels: int, max_seconds: float) -> Audio:
    """Mono at 16 kHz; reads no more than a block over the limits, whatever the header says."""
    mixdown, count = Mixdown(rate, channels), 0
    for block in blocks:
        count += len(block)
        if count > max_seconds * rate:
            raise InvalidInput(f"the audio is longer than the limit of {max_seconds:g} s")
        _check_samples(count, channels)
        mixdown.add(block)
    audio = mixdown.finish() if count else np.zeros(0, np.float32)
    audio = audio[: int(max_seconds * SAMPLING_RATE)]  # resampling may round up
    check_duration(len(audio) / SAMPLING_RATE, max_seconds)
    return audio


def _check_layout(rate: int, channels: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InvalidInput(
            f"the audio file states {rate:,} samples a second, accepted are {LOWEST_RATE:,}–{HIGHEST_RATE:,}"
        )
    if channels > MAX_CHANNELS:
        raise InvalidInput(f"the audio file has {channels} channels, the limit is {MAX_CHANNELS}")


def _check_samples(frames: int, channels: int) -> None:
    if frames * channels > MAX_SAMPLES:
        raise InvalidInput(
            f"the audio file has {frames:,} or more samples in each of {channels} channels, "
            f"the limit is {MAX_SAMPLES:,} in all: send it at 16 kHz with one channel"
        )


def _reason(error: Exception) -> str:
    """The library's own words, without the address of the in-memory file."""
    return str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
