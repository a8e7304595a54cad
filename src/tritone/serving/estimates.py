"""What a request will cost, guessed from its inputs before they are decoded: doors count it (`serving.admission`)."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMPRESSED = 16_000  # bytes of a second of MP3 or Opus at 128 kbit/s
A_DAY = 60.0 * 60 * 24  # streams state a length without end
ENOUGH_TO_DECODE = 2**23  # letters of base64, some three minutes of a WAV file; more is guessed from its size
DIGIT = 5
GROWTH = 1.5  # of the time for a picture with its pixels
TYPED_S = 0.1  # a question that was typed costs about this much of hearing


def seconds_of_sound(audio_bytes: bytes | None = None, messages: str = "", **_: Any) -> float:
    """Length of a sound file, from its header or, where that does not say, from its size.

    Sounds within messages count by their size, as all of these that hold one do.
    """
    if audio_bytes is None:
        return TYPED_S + (len(messages) / COMPRESSED if '"input_audio"' in messages else 0.0)
    return _stated_seconds(audio_bytes) or _stated_seconds(_decoded(audio_bytes)) or len(audio_bytes) / COMPRESSED


def _stated_seconds(audio_bytes: bytes) -> float:
    """What a sound file's header says; 0.0 where it does not."""
    import soundfile

    try:
        seconds = float(soundfile.info(io.BytesIO(audio_bytes)).duration)
    except (soundfile.LibsndfileError, TypeError, OSError):
        return 0.0
    return seconds if seconds < A_DAY else 0.0


def _decoded(text: bytes) -> bytes:
    """The file in base64, or in a data URL of it; nothing if it is neither."""
    if len(text) > ENOUGH_TO_DECODE:
        return b""
    try:
        return base64.b64decode(text.rpartition(b";base64,")[2], validate=True)
    except binascii.Error:
        return b""


def characters(text: str = "", **_: Any) -> float:
    """Length of a text that is to be spoken; a digit is said with as many letters as DIGIT."""
    return float(max(len(text) + (DIGIT - 1) * sum(map(str.isdigit, text)), 1))


def picture_steps(folder: Path, default_steps: int) -> Callable[..., float]:
    """A measure of requests to the Stable Diffusion checkpoint in `folder`: 1 is a step of a picture of the usual size.

    Decoding costs about a step. Convolutions grow with the pixels and attention with their square: measured with the
    tiny checkpoint, four times the pixels took 9.7 times as long, which GROWTH comes near to.
    """
    unet = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    vae = json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8"))
    side = unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)

    def work(
        height: int = side,
        width: int = side,
        num_inference_steps: int = default_steps,
        num_images: int = 1,
        **_: Any,
    ) -> float:
        size = (abs(int(height)) * abs(int(width)) / side**2) ** GROWTH
        return float(max((abs(int(num_inference_steps)) + 1) * abs(int(num_images)) * size, 1.0))

    return work
