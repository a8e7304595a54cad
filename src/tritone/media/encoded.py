"""Files that come as text, as JSON carries them: base64, or a `data:` URL. The file itself passes as it is.

Text is told from a file by its first bytes: none of the formats that we read begins with HEAD letters of base64 in a
row. What a data URL says of its type is not believed; whoever opens the file goes by the file's own first bytes.
"""

from __future__ import annotations

import binascii
import re

from tritone.errors import InvalidInput

HEAD = 16
PIECE = 2**20  # letters decoded at a time: other threads go on in between
SHAPE = "data:<type>;base64,<text>"
PREFIX = 200  # bytes of a data URL in front of its comma, at most
BREAKS = b"\r\n"  # what `base64` of the coreutils puts behind every 76 letters
_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*")
_DATA_URL = re.compile(rb"data:", re.IGNORECASE)
_URL = re.compile(rb"[a-z][a-z0-9+.-]*://|file:", re.IGNORECASE)


def read(data: bytes, name: str, max_bytes: int) -> bytes:
    """The file that `data` is, or stands for.

    Args:
        data: a file, base64 text of one, or a `data:` URL.
        name: of the input, for the sentences.
        max_bytes: of the file; told from the length of the text, before anything is decoded.

    Raises: InvalidInput: text that is broken or too long, or a URL that would have to be fetched.
    """
    if _DATA_URL.match(data):
        return _decode(_payload(data, name), name, max_bytes)
    if _URL.match(data):
        raise InvalidInput(f"{name} is a URL, and this server fetches none: send the file, its base64, or a data: URL")
    return _decode(data, name, max_bytes) if _BASE64.fullmatch(data, 0, HEAD) else data


def _payload(url: bytes, name: str) -> bytes:
    """The base64 text of a data URL."""
    comma = url.find(b",", 0, PREFIX)
    if comma < 0:
        raise InvalidInput(f"{name} is a data URL without a comma in its first {PREFIX} bytes: {SHAPE}")
    if not url[:comma].lower().endswith(b";base64"):
        raise InvalidInput(f"{name} is a data URL without ';base64' in front of its comma: {SHAPE}")
    return url[comma + 1 :]


def _decode(text: bytes, name: str, max_bytes: int) -> bytes:
    breaks = text.count(b"\r") + text.count(b"\n")
    length = len(text) - breaks
    size = length * 3 // 4 - text[-4:].count(b"=")
    if size > max_bytes:
        raise InvalidInput(f"{name} has {size:,} bytes, the limit is {max_bytes:,} bytes")
    text = text.translate(None, BREAKS) if breaks else text
    try:
        if text.find(b"=", 0, max(length - 2, 0)) >= 0:
            raise binascii.Error("padding before its end")
        pieces = (text[start : start + PIECE] for start in range(0, length, PIECE))
        return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in pieces])
    except binascii.Error as error:
        raise InvalidInput(f"{name} is broken base64 of {length:,} letters: {error}") from None
