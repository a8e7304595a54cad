"""Pictures of every mode come out as upright RGB; every bad file is refused with its reason."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from tritone.errors import InvalidInput
from tritone.media import image

# The module switches these off itself, but pytest switches them on again for every test.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
MAX_BYTES, MAX_PIXELS = 10_000_000, 20_000_000
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def encode(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=file_format, **options)
    return file.getvalue()


def decode(image_bytes: bytes) -> np.ndarray:
    return image.decode(image_bytes, MAX_BYTES, MAX_PIXELS)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int, extra: bytes = b"") -> bytes:
    """A PNG of a few bytes whose header states any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(bytes(1_000))) + chunk(b"IEND", b"")
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
        ("P", "GIF"),
        ("RGB", "BMP"),
        ("P", "BMP"),
        ("RGB", "TIFF"),
        ("RGBA", "TIFF"),
        ("CMYK", "TIFF"),
        ("RGB", "AVIF"),
        ("RGBA", "AVIF"),
        ("RGB", "HEIF"),
        ("RGBA", "HEIF"),
    ],
)
def test_every_colour_mode_becomes_rgb(mode: str, file_format: str) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "HEIF": {"quality": -1}}.get(file_format, {})
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
    levels = Image.fromarray(np.array([[0, 257 * 10, 257 * 128, 65_535]], np.uint16))
    for file_format in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encode(levels, file_format))[0, :, 0], [0, 10, 128, 255])
    see_through = encode(levels)
    place = see_through.index(b"IDAT") - 4
    see_through = see_through[:place] + chunk(b"tRNS", struct.pack(">H", 257 * 10)) + see_through[place:]
    np.testing.assert_array_equal(decode(see_through)[0, :, 0], [0, 255, 128, 255])


def test_transparent_parts_become_white() -> None:
    np.testing.assert_array_equal(decode(encode(Image.new("RGBA", (2, 2), (*RED, 0))))[0, 0], WHITE)
    palette = picture("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    decoded = decode(encode(palette, transparency=palette.getpixel((0, 0))))
    np.testing.assert_array_equal(decoded[4, 2], WHITE)
    np.testing.assert_array_equal(decoded[4, 13], GREEN)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_every_format_is_laid_over_white(mode: str, file_format: str) -> None:
    if (mode, file_format) == ("LA", "GIF"):
        mode = "RGBA"  # Pillow writes the other without its transparency
    clear = Image.new("RGBA", (16, 16), (*RED, 0)).convert(mode)
    np.testing.assert_allclose(decode(encode(clear, file_format))[8, 8], WHITE, atol=2)
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128)).convert(mode)
    if file_format != "GIF":  # which has no half-transparent pixels
        np.testing.assert_allclose(decode(encode(half, file_format))[8, 8], [127] * 3, atol=4)


def test_bands_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (101, 57, 4), np.uint8))
    data = encode(noise)
    white = Image.new("RGBA", noise.size, "white")
    expected = np.asarray(Image.alpha_composite(white, noise).convert("RGB"))
    for band in (1, 57 * 10, 2**20):
        monkeypatch.setattr(image, "BAND", band)
        np.testing.assert_array_equal(decode(data), expected)


def test_a_picture_is_averaged_only_above_the_size_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "BAND", 57 * 10)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (101, 57, 3), np.uint8))
    data = encode(noise)
    whole = image.decode(data, MAX_BYTES, MAX_PIXELS, shrink_above=101 * 57)
    np.testing.assert_array_equal(whole, np.asarray(noise))
    shrunk = image.decode(data, MAX_BYTES, MAX_PIXELS, shrink_above=101 * 57 - 1)
    np.testing.assert_array_equal(shrunk, np.asarray(noise.reduce(2)))


def test_the_first_frame_and_the_first_page_are_taken() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN)]
    for file_format in ("GIF", "WEBP", "TIFF", "AVIF", "HEIF", "PNG"):
        data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
        np.testing.assert_allclose(decode(data)[8, 8], RED, atol=6, err_msg=file_format)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_format_is_put_upright_once(file_format: str, orientation: int) -> None:
    corner = np.full((32, 64, 3), 255, np.uint8)
    corner[:16, :16] = RED
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = Image.fromarray(corner)
    upright = lying.copy()
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright))
    decoded = decode(
        encode(lying, file_format, exif=exif.tobytes(), **({"quality": 95} if file_format != "PNG" else {}))
    )
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).mean() < 6


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
        (np.random.default_rng(0).bytes(5_000), "no readable PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC"),
        (b"<svg>text, not pixels</svg>", "no readable PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC"),
        (encode(Image.effect_noise((64, 64), 50))[:-1_500], "damaged or cut short"),
        (encode(Image.effect_noise((64, 64), 50), "JPEG")[:-800], "damaged or cut short"),
        (encode(picture("RGB"), "WEBP")[:-10], "no readable|damaged"),
        (encode(picture("RGB"), "PPM"), "no readable PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC"),
        (bomb(50_000, 50_000), r"too many pixels, the limit is 20,000,000"),
        (bomb(12_000, 10_000), r"12,000×10,000 pixels, the limit is 20,000,000"),  # only a warning to Pillow
        (bomb(5_000, 4_001), r"5,000×4,001 pixels"),
        (bomb(5_000, 4), "one side may be at most 100 times the other"),
        (bomb(0, 10), "no readable PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF or HEIC"),
    ],
    ids=["empty", "random", "text", "cut-png", "cut-jpeg", "cut-webp", "ppm", "bomb", "warn", "over", "thin", "zero"],
)
def test_bad_files_are_refused_with_the_reason(image_bytes: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        decode(image_bytes)


WITHOUT_HEIC = """
import sys
sys.modules["pillow_heif"] = None
from tritone import errors
from tritone.media import image
try:
    image.decode(sys.stdin.buffer.read(), 10**6, 10**6)
except errors.InvalidInput as error:
    print(error)
"""


def test_without_its_package_heic_is_refused_by_name() -> None:
    heic = encode(picture("RGB"), "HEIF")
    said = subprocess.run([sys.executable, "-c", WITHOUT_HEIC], input=heic, capture_output=True, check=True).stdout
    assert said.startswith(b"HEIC pictures are not read by this server")
    assert b"TIFF or AVIF file" in said


def scans(count: int) -> bytes:
    """A progressive JPEG with its last scan again and again."""
    plain = encode(picture("RGB"), "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    return plain[:-2] + last * (count - plain.count(b"\xff\xda")) + b"\xff\xd9"


def tiff(*, change: dict[int, object] | None = None, **options: object) -> bytes:
    """A TIFF of grey pixels, with tags changed."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (change or {}).items():
        info[tag] = value
    return encode(Image.new("L", (64, 64), 90), "TIFF", tiffinfo=info, **options)


def many_numbers() -> bytes:
    """A TIFF that says its strips are 50 million."""
    plain = bytearray(tiff())
    (start,) = struct.unpack_from("<I", plain, 4)
    (count,) = struct.unpack_from("<H", plain, start)
    entries = [start + 2 + 12 * index for index in range(count)]
    place = next(entry for entry in entries if struct.unpack_from("<H", plain, entry)[0] == 273)
    struct.pack_into("<I", plain, place + 4, 50_000_000)
    return bytes(plain)


def in_gif(blocks: bytes) -> bytes:
    plain = encode(picture("P"), "GIF")
    frame = plain.index(b",", 13 + 3 * (2 << (plain[10] & 7)))
    return plain[:frame] + blocks + plain[frame:]


def in_jpeg(segments: bytes) -> bytes:
    plain = encode(picture("RGB"), "JPEG")
    return plain[:2] + segments + plain[2:]


BIG_TIFF = b"II\x2b\0\x08\0\0\0" + bytes(64)
BMP_RLE = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 2000, 0, 0, 1078, 40, 7, 7, 1, 8, 1, 900, 0, 0, 256, 0) + bytes(2000)


@pytest.mark.parametrize(
    ("image_bytes", "sentence"),
    [
        (scans(65), "65 scans: more than 64"),
        (in_jpeg(b"\xff\xfe\0\2" * 2_500), "2,001 segments"),
        (in_jpeg(b"\xff" * 70_000), "fill bytes"),
        (in_jpeg(b"\xff\xe1\0\x10Exif\0\0MM\0*\0\0\0\x08" * 20), "17 EXIF segments"),
        (bomb(8, 8, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1000))) * 101), "101 texts and profiles"),
        (bomb(8, 8, chunk(b"abCd", b"") * 50_000), "50,001 chunks"),
        (in_gif(b"!\xff\0" * 10_001), "10,001 blocks"),
        (in_gif(b"!\xfe" + b"\1x" * 10_001 + b"\0"), "10,001 blocks"),
        (in_gif(b"\0" * 10_001), "10,001 blocks"),
        (BMP_RLE, "compressed .RLE."),
        (BIG_TIFF, "BigTIFF"),
        (many_numbers(), "50,000,000 numbers in tag 273"),
        (tiff(compression="zstd"), "compressed with 'zstd': save it with LZW"),
        (encode(Image.new("F", (8, 8)), "TIFF"), "32 bits a sample"),
        (encode(Image.new("I", (8, 8)), "TIFF"), "32 bits a sample"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_take_long_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, image_bytes: bytes, sentence: str
) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("the pixels were decoded"))
    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", lambda _: pytest.fail("the pixels were decoded"))
    with pytest.raises(InvalidInput, match=sentence):
        decode(image_bytes)


def test_strips_that_share_their_bytes_and_tiles_far_larger_than_the_picture_are_refused() -> None:
    plain = tiff(compression="tiff_lzw")
    with pytest.raises(InvalidInput, match="claims 3,000,000,000 bytes of pixels in a file of"):
        decode(changed(plain, 279, 3_000_000_000))
    tiled = changed(changed(plain, 278, 20_000, 322), 279, 20_000, 323)
    with pytest.raises(InvalidInput, match="tiles of 400,000,000 pixels"):
        decode(tiled)


def changed(plain: bytes, tag: int, value: int, into: int | None = None) -> bytes:
    """A TIFF with one of its tags changed to another value, or into another tag."""
    data = bytearray(plain)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, place)[0] == tag:
            struct.pack_into("<HHII", data, place, into or tag, 4, 1, value)
    return bytes(data)


def test_as_many_scans_as_encoders_write_are_read_and_what_follows_a_picture_is_not_counted() -> None:
    np.testing.assert_allclose(decode(scans(64))[4, 2], RED, atol=60)  # 4:2:0 at quality 75
    motion_photo = scans(10) + b"\xff\xda\0\0" * 1_000  # a film behind the picture
    assert decode(motion_photo).shape == (8, 16, 3)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_the_usual_compressions_of_tiff_are_read(compression: str | None) -> None:
    np.testing.assert_allclose(decode(tiff(compression=compression)), np.full((64, 64, 3), 90), atol=2)


def test_a_header_is_enough_to_count_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("the pixels were decoded"))
    assert image.count_pixels(bomb(4_000, 5_000), MAX_BYTES, MAX_PIXELS) == 20_000_000
    with pytest.raises(InvalidInput, match="the limit is 20,000,000 pixels"):
        image.count_pixels(bomb(4_001, 5_000), MAX_BYTES, MAX_PIXELS)


MEMORY = """
import resource, sys
from tritone.media import image
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image.decode(data, 2**25, 50_000_000, 16_000_000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_a_large_picture_is_in_memory_hardly_more_than_once(tmp_path) -> None:
    file = tmp_path / "white.png"
    file.write_bytes(encode(Image.new("RGBA", (7_000, 7_000), (255, 0, 0, 128))))
    taken = subprocess.run([sys.executable, "-c", MEMORY, file], capture_output=True, text=True, check=True)
    assert float(taken.stdout) < 350  # MiB; the pixels of Pillow are 187, the shrunk ones 35; it was 800 and more


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"bytes, the limit is 10 bytes"):
        image.decode(encode(picture("RGB")), max_bytes=10, max_pixels=MAX_PIXELS)


def test_a_png_we_write_is_read_back() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    np.testing.assert_array_equal(decode(image.encode_png(pixels)), pixels)
