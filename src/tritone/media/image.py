"""Pictures in and out: the bytes of a file → upright RGB pixels, and pixels → PNG bytes.

What a file may cost is checked before a single pixel is decoded, in `image_budget`. This module knows files and
pixels; it knows nothing of models or Triton.
"""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tritone.errors import InvalidInput
from tritone.media import encoded
from tritone.media.image_budget import check_opened, check_size, check_structure

try:
    import pillow_heif
except ImportError:  # somebody left it out, for its licence (SECURITY.md): HEIC is refused by name
    pillow_heif = None  # type: ignore[assignment]

# Pillow's names, and what people call them.
FORMATS = {
    "PNG": "PNG",
    "JPEG": "JPEG",
    "WEBP": "WebP",
    "GIF": "GIF",
    "BMP": "BMP",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
    **({"HEIF": "HEIC"} if pillow_heif else {}),
}
ACCEPTED = f"{', '.join(list(FORMATS.values())[:-1])} or {list(FORMATS.values())[-1]}"

INPUT = "image_bytes"  # what the input is mostly called
# A vision tower looks at 224 to 448 pixels a side; what is larger than this is averaged before it is resized for it.
ENOUGH_TO_LOOK_AT = 16_000_000
BAND = 2**20  # pixels that are converted at a time, so that a picture is never in memory three times
# How the pixels of EXIF's eight orientations, (height, width, 3), are put upright.
_UPRIGHT = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}

Pixels = NDArray[np.uint8]

if pillow_heif:
    # What else a HEIC file holds is not looked at; libheif's own limits (items, tiles, memory) stay on.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# `check_size` refuses what Pillow would only warn of, and a hostile file could fill the log with 60,000 warnings.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(
    image_bytes: bytes, max_bytes: int, max_pixels: int, shrink_above: int | None = None, name: str = INPUT
) -> Pixels:
    """Decode a file of one of FORMATS to RGB uint8 (height, width, 3), turned upright as its EXIF tag says.

    The file may come as text (`tritone.media.encoded`); `name` is that of the input, for the sentences. Transparent
    parts are laid over white; greyscale, palette, 16-bit and CMYK pictures become RGB; of an animation or several pages
    the first is taken. With `shrink_above`, a picture of more pixels comes averaged over squares of 2×2, 3×3 … of them,
    as few as bring it below. Raises InvalidInput if the bytes are empty, too many, no such file, damaged, state more
    than `max_pixels` pixels, or would take unreasonably long.
    """
    picture = _open(image_bytes, max_bytes, max_pixels, name)
    try:
        picture.load()
        check_size(picture.size, max_pixels)  # a HEIC's header and its pixels may differ
        turn = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
        pixels = _pixels(picture, math.ceil(math.sqrt(picture.width * picture.height / (shrink_above or max_pixels))))
        del picture
        return np.ascontiguousarray(turn(pixels)) if turn else pixels
    except InvalidInput:
        raise
    except Exception as error:  # Pillow raises a dozen types on hostile bytes; all of them are the sender's
        raise InvalidInput(f"the picture is damaged or cut short ({error})") from error


def count_pixels(image_bytes: bytes, max_bytes: int, max_pixels: int, name: str = INPUT) -> int:
    """How many pixels the file's header states; nothing is decoded. Raises InvalidInput as `decode` does."""
    picture = _open(image_bytes, max_bytes, max_pixels, name)
    return picture.width * picture.height


def encode_png(image: Pixels) -> bytes:
    """PNG file of RGB pixels uint8 (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def _open(image_bytes: bytes, max_bytes: int, max_pixels: int, name: str) -> Image.Image:
    """Read the header alone, and refuse what may not be decoded."""
    image_bytes = encoded.read(image_bytes, name, max_bytes)
    if not image_bytes:
        raise InvalidInput(f"{name} is empty (0 bytes): send a {ACCEPTED} file")
    if len(image_bytes) > max_bytes:
        raise InvalidInput(f"{name} has {len(image_bytes):,} bytes, the limit is {max_bytes:,} bytes")
    check_structure(image_bytes)
    picture = _header(image_bytes, max_pixels, name)
    check_opened(picture, image_bytes, max_pixels)
    return picture


def _header(image_bytes: bytes, max_pixels: int, name: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(image_bytes), formats=list(FORMATS))
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"the picture has too many pixels, the limit is {max_pixels:,} ({error})") from error
    except Exception as error:  # as in `decode`
        if "HEIF" not in FORMATS and image_bytes[4:8] == b"ftyp" and b"hei" in image_bytes[8:40]:
            raise InvalidInput(
                f"HEIC pictures are not read by this server, which has no package pillow-heif: send a {ACCEPTED} file"
            ) from error
        raise InvalidInput(f"{name} is no readable {ACCEPTED} picture") from error


def _pixels(picture: Image.Image, factor: int) -> Pixels:
    """RGB uint8 (height, width, 3) divided by `factor` and rounded up, a band of rows at a time."""
    width, height = picture.size
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    rows = factor * max(1, BAND // (factor * width))
    for top in range(0, height, rows):
        band = _rgb(picture.crop((0, top, width, min(top + rows, height))))
        pixels[top // factor : (top + rows) // factor] = band.reduce(factor) if factor > 1 else band
    return pixels


def _rgb(picture: Image.Image) -> Image.Image:
    """The one place where colours are converted."""
    picture = _in_8_bits(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """16-bit greys as 8-bit ones, where Pillow's own conversion would clip at 255."""
    transparency = picture.info.get("transparency")
    if picture.mode.startswith("I"):
        levels = np.asarray(picture)
        if transparency is not None:
            levels = np.where(levels == transparency, 65_535, levels)
        return Image.fromarray((levels.astype(np.uint32) // 257).astype(np.uint8))
    if isinstance(transparency, tuple) and max(transparency) > 255:  # Pillow keeps the colours' upper bytes alone
        picture.info["transparency"] = tuple(level >> 8 for level in transparency)
    return picture
