"""What a picture file may cost, read from its structure before anything is decoded.

A few kilobytes can keep a decoder busy for minutes without stating a single pixel too many: ten thousand scans over
one picture, a million empty chunks, strips that all read the same megabytes. Each format is bounded here: first by
`check_structure`, which walks the bytes, then by `check_opened`, on what Pillow has read of the header.
WebP, AVIF and HEIC have no such parts that grow with anything but pixels and bytes; their libraries bound the rest.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from PIL import Image
from PIL.TiffImagePlugin import STRIPBYTECOUNTS, TILEBYTECOUNTS, TILELENGTH, TILEWIDTH, TiffImageFile

from tritone.errors import InvalidInput

# A vision model resizes the shorter side to its input size, so a thread-thin picture would grow to gigabytes.
MAX_ASPECT_RATIO = 100
MAX_SCANS = 64  # of a JPEG; cameras and encoders write 1 to about 10
MAX_SEGMENTS = 2_000  # of a JPEG; a colour profile or a depth map in 64 kB pieces has hundreds
MAX_EXIF_SEGMENTS = 16  # of a JPEG, 64 kB each; Pillow joins them in quadratic time
MAX_FILL = 2**16  # bytes between two segments of a JPEG's header; they should be none
MAX_CHUNKS = 50_000  # of a PNG; the pixels of a large one come in thousands
MAX_METADATA = 100  # compressed texts and profiles of a PNG, 1 MB each when unpacked
MAX_BLOCKS = 10_000  # of a GIF, before the first frame
MAX_NUMBERS = 100_000  # in one tag of a TIFF, such as the offsets of its strips
MAX_TAGS = 1_000  # of a TIFF; cameras write about 50
MAX_TILE = 2**22  # pixels of a TIFF's tile in a picture that is smaller than its tile
# Pillow's names of what scanners, cameras and office programs write; the others are rare, slow or badly tested.
TIFF_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg", "tiff_ccitt", "group3", "group4"}
)

_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # no stuffed zero, no restart marker, no fill byte
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_PNG_METADATA = frozenset({b"iCCP", b"zTXt", b"iTXt", b"tEXt"})
_GIF_EXTENSION, _GIF_FRAME = 0x21, 0x2C
_TIFF_BYTES = frozenset({1, 2, 6, 7})  # types of tags that Pillow leaves as bytes


def check_structure(image_bytes: bytes) -> None:
    """Raise InvalidInput if the parts of a JPEG, PNG, GIF or TIFF file are too many to be read in reasonable time."""
    for magic, check in _STRUCTURES.items():
        if image_bytes.startswith(magic):
            check(image_bytes)


def check_opened(picture: Image.Image, image_bytes: bytes, max_pixels: int) -> None:
    """Raise InvalidInput if the header states too many pixels, or a kind of compression that is not read."""
    check_size(picture.size, max_pixels)
    if isinstance(picture, TiffImageFile):
        _check_tiff(picture, len(image_bytes))
    elif picture.format == "BMP" and picture.tile[0].codec_name != "raw":  # type: ignore[attr-defined]
        # Pillow unpacks these run by run in Python: seconds for each megabyte.
        raise InvalidInput("the BMP picture is compressed (RLE): save it without compression, or as PNG")


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise InvalidInput if a picture of this width and height is too large or too thin."""
    width, height = size
    if width * height > max_pixels:
        raise InvalidInput(f"the picture has {width:,}×{height:,} pixels, the limit is {max_pixels:,} pixels")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise InvalidInput(
            f"the picture is {width:,}×{height:,}: one side may be at most {MAX_ASPECT_RATIO} times the other"
        )


def _check(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise InvalidInput(f"the {what}: more than {limit:,} are not read")


def _check_jpeg(data: bytes) -> None:
    """Walk the segments as libjpeg does, up to the end of the first picture: others and films may follow it."""
    position, segments, scans, exif = 2, 0, 0, 0
    while match := _JPEG_MARKER.search(data, position):
        marker = data[match.start() + 1]
        segments += 1
        exif += data.startswith(b"Exif", match.end() + 2)
        if not scans:
            _check("JPEG picture has fill bytes in its header", match.start() - position, MAX_FILL)
        scans += marker == _START_OF_SCAN
        _check(f"JPEG picture has {scans} scans", scans, MAX_SCANS)
        _check(f"JPEG picture has {exif} EXIF segments", exif, MAX_EXIF_SEGMENTS)
        _check(f"JPEG picture has {segments:,} segments", segments, MAX_SEGMENTS)
        if marker == _END_OF_IMAGE:
            return
        position = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")


def _check_png(data: bytes) -> None:
    position, chunks, metadata = 8, 0, 0
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        chunks += 1
        metadata += kind in _PNG_METADATA
        _check(f"PNG picture has {chunks:,} chunks", chunks, MAX_CHUNKS)
        _check(f"PNG picture has {metadata} texts and profiles", metadata, MAX_METADATA)
        if kind == b"IEND":
            return


def _check_gif(data: bytes) -> None:
    for blocks, _ in enumerate(_gif_blocks(data), start=1):
        _check(f"GIF picture has {blocks:,} blocks before its first frame", blocks, MAX_BLOCKS)


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Position of each block, sub-block and stray byte before the first frame."""
    position = 13
    if len(data) > 10 and data[10] & 0x80:  # a palette
        position += 3 << ((data[10] & 7) + 1)
    while position < len(data) and data[position] != _GIF_FRAME:
        yield position
        if data[position] != _GIF_EXTENSION:
            position += 1
            continue
        position += 2
        while position < len(data) and data[position]:
            yield position
            position += 1 + data[position]
        position += 1


def _check_tiff_tags(data: bytes) -> None:
    """The first directory, before Pillow turns its numbers into Python's."""
    order = "<" if data.startswith(b"II") else ">"
    if 0x2B in data[2:4]:
        raise InvalidInput("the TIFF picture is a BigTIFF, which is made for files over 4 GB: save it as plain TIFF")
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        _check(f"TIFF picture has {count:,} tags", count, MAX_TAGS)
        for entry in range(count):
            tag, kind, numbers = struct.unpack_from(order + "HHI", data, start + 2 + 12 * entry)
            if kind not in _TIFF_BYTES:
                _check(f"TIFF picture has {numbers:,} numbers in tag {tag}", numbers, MAX_NUMBERS)
    except struct.error as error:
        raise InvalidInput("the TIFF picture is damaged or cut short (its tags lie outside the file)") from error


def _check_tiff(picture: TiffImageFile, size: int) -> None:
    tags = picture.tag_v2
    if (compression := picture.info["compression"]) not in TIFF_COMPRESSIONS:
        raise InvalidInput(f"the TIFF picture is compressed with '{compression}': save it with LZW, deflate or none")
    if picture.mode in ("I", "F"):  # nobody knows which of their numbers is white
        raise InvalidInput("the TIFF picture has 32 bits a sample: save it with 8 or 16")
    # Strips that overlap would have the same bytes read again and again.
    claimed = sum(tags.get(STRIPBYTECOUNTS, ())) + sum(tags.get(TILEBYTECOUNTS, ()))
    if claimed > 2 * size:
        raise InvalidInput(f"the TIFF picture claims {claimed:,} bytes of pixels in a file of {size:,} bytes")
    if TILEWIDTH in tags or TILELENGTH in tags:
        tile, whole = int(tags.get(TILEWIDTH, 0)) * int(tags.get(TILELENGTH, 0)), picture.width * picture.height
        _check(f"TIFF picture has tiles of {tile:,} pixels", tile, max(whole, MAX_TILE))


_STRUCTURES: dict[bytes, Callable[[bytes], None]] = {
    b"\xff\xd8": _check_jpeg,
    b"\x89PNG": _check_png,
    b"GIF8": _check_gif,
    b"II": _check_tiff_tags,
    b"MM": _check_tiff_tags,
}
