"""From what a caller has — a path, bytes, a file object, an array, a Pillow image — to the encoded bytes that the
server takes, and from an answer's files to arrays.

The only file that opens files. What the server can decode itself is passed on as it is, without a look inside.
"""

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from tritone_client.exceptions import InvalidInput
from tritone_client.types import AudioLike, ImageLike

T = TypeVar("T")


def audio_bytes(audio: AudioLike, sampling_rate: int | None = None) -> bytes:
    """Encode audio.

    Args:
        audio: path, encoded bytes, file object, or samples: float −1..1 or int16, (n_samples,) or (n_samples,
            n_channels).
        sampling_rate: of the samples, in Hz; only for samples, as files say it themselves.

    Raises: InvalidInput: a file that cannot be read; samples that are no sound.
    """
    if isinstance(audio, np.ndarray):
        return _wav(_samples(audio), sampling_rate)
    if sampling_rate is not None:
        raise InvalidInput(f"sampling_rate is {sampling_rate}, but a file says its own: leave it out")
    encoded = _encoded("audio", audio)
    if encoded is None:
        raise InvalidInput(f"audio is a {type(audio).__name__}, must be a path, bytes, a file object or a numpy array")
    return encoded


def image_bytes(image: ImageLike) -> bytes:
    """Encode a picture; pixels and Pillow images become PNG, which loses nothing.

    Raises: InvalidInput: a file that cannot be read; an array that is no picture.
    """
    if isinstance(image, np.ndarray):
        return _png(_pillow(image))
    if isinstance(image, Image.Image):
        return _png(image)
    encoded = _encoded("image", image)
    if encoded is None:
        kinds = "a path, bytes, a file object, a Pillow image or a numpy array"
        raise InvalidInput(f"image is a {type(image).__name__}, must be {kinds}")
    return encoded


def read_file(what: str, path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises: InvalidInput: it cannot be read; `what` says what it should have been.
    """
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{what} file '{os.fspath(path)}' cannot be read: {reason}") from error


def pixels_of(picture: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of a picture file, uint8 (height, width, 3), RGB.

    Raises: ValueError: it is none.
    """
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            return np.array(opened.convert("RGB"))
    except OSError as error:
        raise ValueError(f"not a picture: {error}") from error


async def off_the_loop(work: Callable[[], T], *media: object) -> T:
    """`work()`; on a thread where one of `media` must be opened or encoded, so that the event loop goes on."""
    if all(_is_encoded(each) for each in media):
        return work()
    return await asyncio.to_thread(work)


def _is_encoded(media: object) -> bool:
    if isinstance(media, (list, tuple)):
        return all(_is_encoded(each) for each in media)
    return media is None or isinstance(media, (bytes, bytearray, memoryview))


def _encoded(what: str, media: object) -> bytes | None:
    """The bytes of what is a file already; None of anything else."""
    if isinstance(media, (str, os.PathLike)):
        return read_file(what, media)
    if isinstance(media, (bytes, bytearray, memoryview)):
        return bytes(media)
    if not hasattr(media, "read"):
        return None
    content = media.read()
    if not isinstance(content, bytes):
        raise InvalidInput(
            f"{what} is a file object that gives {type(content).__name__}, must give bytes: open it 'rb'"
        )
    return content


def _samples(audio: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    """The samples as int16 (n_samples, n_channels)."""
    if audio.ndim not in (1, 2) or audio.size == 0:
        raise InvalidInput(f"audio has shape {audio.shape}, must be (n_samples,) or (n_samples, n_channels)")
    columns = audio.reshape(len(audio), -1)
    if audio.dtype == np.int16:
        return columns.astype(np.int16)
    if audio.dtype.kind != "f":
        raise InvalidInput(f"audio has dtype {audio.dtype}, must be float in −1..1 or int16")
    peak = float(np.abs(columns).max())
    if not peak <= 1:  # also when it is NaN
        raise InvalidInput(f"audio has a peak of {peak:g}, must be at most 1")
    scaled: npt.NDArray[np.float64] = np.rint(columns.astype(np.float64) * 2**15)
    return scaled.clip(-(2**15), 2**15 - 1).astype(np.int16)


def _wav(samples: npt.NDArray[np.int16], sampling_rate: int | None) -> bytes:
    if sampling_rate is None or sampling_rate <= 0:
        raise InvalidInput(f"sampling_rate is {sampling_rate}, must be the samples' rate in Hz")
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, samples, sampling_rate, format="WAV", subtype="PCM_16")
    except soundfile.LibsndfileError as error:  # such as more channels than a WAV file has
        raise InvalidInput(f"audio of shape {samples.shape} cannot be written as a WAV file: {error}") from error
    return buffer.getvalue()


def _pillow(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InvalidInput(f"image is {pixels.dtype} {pixels.shape}, must be uint8 (height, width, 3)")
    return Image.fromarray(pixels)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format="PNG")
    except OSError as error:  # a mode that PNG has not, such as CMYK
        raise InvalidInput(f"image cannot be encoded: {error}") from error
    return buffer.getvalue()
