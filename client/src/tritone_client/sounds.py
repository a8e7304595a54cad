"""Sounds as files, of the format that the file's name says."""

import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from tritone_client.exceptions import InvalidInput

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".ogg": "OGG", ".opus": "OGG"}  # by libsndfile's names


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's name says, by libsndfile's name; "" for a name that it does not know."""
    return FORMATS.get(Path(path).suffix.lower(), "")


def is_of(file: bytes, kind: str) -> bool:
    """Whether a sound file is of a format; one that libsndfile cannot read, such as AAC, is what was asked for."""
    try:
        return bool(soundfile.info(io.BytesIO(file)).format == kind)
    except soundfile.LibsndfileError:
        return True


def encoded(path: str | os.PathLike[str], audio: npt.NDArray[np.float32], sampling_rate: int) -> bytes:
    """A sound as a FLAC or MP3 file, as the path says.

    Raises: InvalidInput: the path says neither.
    """
    kind, buffer = format_of(path), io.BytesIO()
    if kind not in ("FLAC", "MP3"):
        raise InvalidInput(f"{os.fspath(path)} must end in .wav, .flac or .mp3, or in the format that was asked for")
    soundfile.write(buffer, audio, sampling_rate, format=kind)
    return buffer.getvalue()
