"""Pictures of every mode come out as upright RGB; every bad file is refused with its reason."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tritone import image
from tritone.errors import InvalidInput

MAX_BYTES, MAX_PIXELS = 10_000_000, 20_000_000
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encode(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=file_format, **options)
    return file.getvalue()


def decode(image_bytes: bytes) -> np.ndarray:
    return image.decode(image_bytes, MAX_BYTES, MAX_PIXELS)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header states any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def picture(mode: str) -> Image.Image:
    """16×8 pixels: red on the left, green on the right."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8], pixels[:, 8:] = RED, GREEN
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("RGB", "WEBP"),
        ("RGBA", "WEBP"),
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
    ],
)
def test_every_colour_mode_becomes_rgb(mode: str, file_format: str) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(file_format, {})
    decoded = decode(encode(picture(mode), file_format, **options))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (8, 16, 3)
    np.testing.assert_allclose(decoded[4, 2], RED, atol=12)
    np.testing.assert_allclose(decoded[4, 13], GREEN, atol=12)


def test_grey_pictures_become_rgb() -> None:
    for grey in (Image.new("L", (4, 4), 128), Image.new("LA", (4, 4), (128, 255))):
        np.testing.assert_array_equal(decode(encode(grey)), np.full((4, 4, 3), 128))
    np.testing.assert_array_equal(decode(encode(Image.new("1", (4, 4), 1))), np.full((4, 4, 3), 255))


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.array([[0, 257 * 10, 257 * 128, 65_535]], np.uint16)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(levels)))[0, :, 0], [0, 10, 128, 255])


def test_transparent_parts_become_white() -> None:
    np.testing.assert_array_equal(decode(encode(Image.new("RGBA", (2, 2), (*RED, 0))))[0, 0], WHITE)
    palette = picture("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    decoded = decode(encode(palette, transparency=palette.getpixel((0, 0))))
    np.testing.assert_array_equal(decoded[4, 2], WHITE)
    np.testing.assert_array_equal(decoded[4, 13], GREEN)


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90° clockwise to see it upright
    decoded = decode(encode(picture("RGB"), "JPEG", exif=exif, quality=95))
    assert decoded.shape == (16, 8, 3)
    np.testing.assert_allclose(decoded[2, 4], RED, atol=12)  # left has become top


def test_a_picture_of_one_pixel_works() -> None:
    np.testing.assert_array_equal(decode(encode(Image.new("RGB", (1, 1), RED))), [[RED]])


@pytest.mark.parametrize(
    ("image_bytes", "sentence"),
    [
        (b"", r"empty \(0 bytes\)"),
        (np.random.default_rng(0).bytes(5_000), "no readable PNG, JPEG or WebP"),
        (b"<svg>text, not pixels</svg>", "no readable PNG, JPEG or WebP"),
        (encode(Image.effect_noise((64, 64), 50))[:-1_500], "damaged or cut short"),
        (encode(Image.effect_noise((64, 64), 50), "JPEG")[:-800], "damaged or cut short"),
        (encode(picture("RGB"), "WEBP")[:-10], "no readable|damaged"),
        (encode(picture("RGB"), "GIF"), "no readable PNG, JPEG or WebP"),
        (bomb(50_000, 50_000), r"too many pixels, the limit is 20,000,000"),
        (bomb(12_000, 10_000), r"12,000×10,000 pixels, the limit is 20,000,000"),  # only a warning to Pillow
        (bomb(5_000, 4_001), r"5,000×4,001 pixels"),
        (bomb(5_000, 4), "one side may be at most 100 times the other"),
        (bomb(0, 10), "no readable PNG, JPEG or WebP"),
    ],
    ids=["empty", "random", "text", "cut-png", "cut-jpeg", "cut-webp", "gif", "bomb", "warn", "over", "thin", "zero"],
)
def test_bad_files_are_refused_with_the_reason(image_bytes: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        decode(image_bytes)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"bytes, the limit is 10 bytes"):
        image.decode(encode(picture("RGB")), max_bytes=10, max_pixels=MAX_PIXELS)


def test_a_png_we_write_is_read_back() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(decode(image.encode_png(pixels)), pixels)
