"""Pictures in and out: PNG, JPEG or WebP bytes → upright RGB pixels, and pixels → PNG bytes.

Size is checked in the header, before a single pixel is decoded. This module knows files and pixels; it knows nothing
of models or Triton.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tritone.errors import InvalidInput

FORMATS = ("PNG", "JPEG", "WEBP")
# A vision model resizes the shorter side to its input size, so a thread-thin picture would grow to gigabytes.
MAX_ASPECT_RATIO = 100

Pixels = NDArray[np.uint8]


def decode(image_bytes: bytes, max_bytes: int, max_pixels: int) -> Pixels:
    """Decode a PNG, JPEG or WebP file to RGB uint8 (height, width, 3), turned upright as its EXIF tag says.

    Transparent parts are laid over white; greyscale, palette, 16-bit and CMYK pictures become RGB; of an animation
    the first frame is taken. Raises InvalidInput if the bytes are empty, too many, no such file, damaged, or state
    more than `max_pixels` pixels.
    """
    check_size(image_bytes, max_bytes)
    picture = _open(image_bytes, max_pixels)
    _check_header(picture, max_pixels)
    try:
        return np.asarray(_to_rgb(_upright(picture)))
    except Exception as error:  # Pillow raises a dozen types on hostile bytes; all of them are the sender's
        raise InvalidInput(f"the {picture.format} picture is damaged or cut short ({error})") from error


def encode_png(image: Pixels) -> bytes:
    """PNG file of RGB pixels uint8 (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def check_size(image_bytes: bytes, max_bytes: int) -> None:
    """Raise InvalidInput if the file is empty or larger than `max_bytes`."""
    if not image_bytes:
        raise InvalidInput("image_bytes is empty (0 bytes): send a PNG, JPEG or WebP file")
    if len(image_bytes) > max_bytes:
        raise InvalidInput(f"image_bytes has {len(image_bytes):,} bytes, the limit is {max_bytes:,} bytes")


def _open(image_bytes: bytes, max_pixels: int) -> Image.Image:
    """Read the header alone."""
    try:
        with warnings.catch_warnings():  # `_check_header` refuses what Pillow would only warn of
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(image_bytes), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"the picture has too many pixels, the limit is {max_pixels:,} ({error})") from error
    except Exception as error:  # as in `decode`
        raise InvalidInput("image_bytes is no readable PNG, JPEG or WebP picture") from error


def _check_header(picture: Image.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise InvalidInput(f"the picture has {width:,}×{height:,} pixels, the limit is {max_pixels:,} pixels")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise InvalidInput(
            f"the picture is {width:,}×{height:,}: one side may be at most {MAX_ASPECT_RATIO} times the other"
        )


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    return ImageOps.exif_transpose(picture)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a pixel: Pillow's own conversion would clip at 255
        return Image.fromarray((np.asarray(picture).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
