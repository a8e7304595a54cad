"""Files that come as base64 text or data URLs, told from files, bounded before they are decoded, never fetched."""

import base64
import binascii
import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from tritone.errors import InvalidInput
from tritone.media import encoded, image, sound_files

MOST = 2**20
RED = np.full((40, 60, 3), (255, 0, 0), np.uint8)


def picture(kind: str, side: int = 40) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, kind)
    return file.getvalue()


def sound(kind: str) -> bytes:
    file = io.BytesIO()
    tone = np.sin(np.arange(16_000) / 10).astype(np.float32)
    soundfile.write(file, tone, 16_000, format=kind, subtype="OPUS" if kind == "OGG" else None)
    return file.getvalue()


PICTURES = {kind: picture(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")}
SOUNDS = {kind: sound(kind) for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "CAF")}
HEADS = {
    "mp4": b"\x00\x00\x00\x20ftypM4A ",
    "webm": b"\x1a\x45\xdf\xa3",
    "aac": b"\xff\xf1\x50\x80",
    "amr": b"#!AMR\n",
    "nothing": b"",
    "words": b"no picture at all, but words",
    "Chinese words": "这不是图片".encode(),
}


@pytest.mark.parametrize("file", [*PICTURES.values(), *SOUNDS.values(), *HEADS.values()])
def test_a_file_passes_as_it_is(file: bytes) -> None:
    assert encoded.read(file, "image_bytes", 1) is file


def test_a_large_file_whose_size_is_spelt_in_letters_is_still_a_file() -> None:
    """A WAV or GIF file may have letters for its length or its width; what follows is none."""
    wav = b"RIFFabc\x02" + SOUNDS["WAV"][8:]
    gif = b"GIF89aabab" + PICTURES["GIF"][10:]
    assert [encoded.read(file, "x", MOST) for file in (wav, gif)] == [wav, gif]


@pytest.mark.parametrize("file", [*PICTURES.values(), *SOUNDS.values()])
@pytest.mark.parametrize(
    "write",
    [
        base64.b64encode,
        base64.encodebytes,  # a line break behind every 76 letters
        lambda file: base64.encodebytes(file).replace(b"\n", b"\r\n"),
        lambda file: b"data:image/png;base64," + base64.b64encode(file),  # whatever it says of its type
        lambda file: b"DATA:audio/wav;name=\xe5\xa3\xb0.wav;BASE64," + base64.b64encode(file),
        lambda file: b"data:;base64," + base64.encodebytes(file),
    ],
)
def test_text_is_decoded_to_the_file_that_it_stands_for(file: bytes, write) -> None:
    assert encoded.read(write(file), "image_bytes", MOST) == file


def test_long_text_is_decoded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    file = bytes(range(256)) * 41
    monkeypatch.setattr(encoded, "PIECE", 1_024)
    assert encoded.read(base64.encodebytes(file), "x", MOST) == file
    for end in (-1, -2, -3):
        assert encoded.read(base64.b64encode(file[:end]), "x", MOST) == file[:end]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"https://example.com/cat.png", "mask_bytes is a URL, and this server fetches none"),
        (b"HTTP://127.0.0.1/cat.png", "mask_bytes is a URL"),
        (b"file:///etc/passwd", "mask_bytes is a URL"),
        (b"file:cat.png", "mask_bytes is a URL"),
        (b"s3://bucket/cat.png", "mask_bytes is a URL"),
        (b"data:image/png;base64", "mask_bytes is a data URL without a comma in its first 200 bytes"),
        (b"data:" + b"x" * 200 + b";base64,AAAA", "mask_bytes is a data URL without a comma in its first 200 bytes"),
        (b"data:image/png,%89PNG", "mask_bytes is a data URL without ';base64' in front of its comma"),
        (b"data:image/png;base64,iVBO*AAA", "mask_bytes is broken base64 of 8 letters: Only base64 data is allowed"),
        (b"iVBORw0KGgoAAAAN", None),
        (b"iVBORw0KGgoAAAANS", "mask_bytes is broken base64 of 17 letters: Invalid base64-encoded string"),
        (b"iVBORw0KGgoAAAANSU", "mask_bytes is broken base64 of 18 letters: Incorrect padding"),
        (b"iVBORw0KGgoAAA==iVBO", "mask_bytes is broken base64 of 20 letters: padding before its end"),
        (b"iVBORw0KGgoAAAAN\xe4\xbd\xa0A", "Only base64 data is allowed"),
    ],
)
def test_broken_text_is_refused_with_the_inputs_name_and_what_is_wrong(text: bytes, sentence: str | None) -> None:
    if sentence is None:
        assert encoded.read(text, "mask_bytes", MOST) == b"\x89PNG\r\n\x1a\n\0\0\0\r"
        return
    with pytest.raises(InvalidInput) as caught:
        encoded.read(text, "mask_bytes", MOST)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("prefix", [b"", b"data:image/png;base64,"])
def test_the_size_is_limited_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch, prefix: bytes) -> None:
    file = bytes(100_000)
    assert encoded.read(prefix + base64.encodebytes(file), "x", 100_000) == file
    monkeypatch.setattr(binascii, "a2b_base64", None)
    with pytest.raises(InvalidInput, match=r"audio_bytes has 100,000 bytes, the limit is 99,999 bytes"):
        encoded.read(prefix + base64.encodebytes(file), "audio_bytes", 99_999)


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_are_looked_at_whatever_the_url_says_of_them(kind: str) -> None:
    url = b"data:audio/wav;base64," + base64.b64encode(PICTURES[kind])
    assert image.count_pixels(url, MOST, 10**6) == 1_600
    pixels = image.decode(url, MOST, 10**6)
    assert pixels.shape == (40, 40, 3)
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() < 20


@pytest.mark.parametrize("kind", SOUNDS)
def test_sounds_are_heard_from_text_as_from_the_file(kind: str) -> None:
    heard = sound_files.decode(base64.b64encode(SOUNDS[kind]), MOST, 10.0)
    assert np.array_equal(heard, sound_files.decode(SOUNDS[kind], MOST, 10.0))
    assert len(heard) >= 16_000


def test_text_of_no_picture_and_of_no_sound_is_refused_as_such_a_file_would_be() -> None:
    with pytest.raises(InvalidInput, match="audio_bytes is no readable WAV"):
        sound_files.decode(base64.b64encode(PICTURES["PNG"]), MOST, 10.0)
    with pytest.raises(InvalidInput, match="mask_bytes is no readable PNG"):
        image.decode(base64.b64encode(b"words, no picture"), MOST, 10**6, name="mask_bytes")
    with pytest.raises(InvalidInput, match="image_bytes is empty"):
        image.decode(b"data:image/png;base64,", MOST, 10**6)
