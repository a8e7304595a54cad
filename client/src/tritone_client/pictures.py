"""Pictures as files, of the format that the file's name says."""

import io
import os
from pathlib import Path

from PIL import Image

from tritone_client.exceptions import InvalidInput

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY = 95  # of those that lose something


def format_of(path: str | os.PathLike[str]) -> str:
    """The format, by Pillow's name.

    Raises: InvalidInput: a name that says none of them.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise InvalidInput(f"{os.fspath(path)} must end in one of {', '.join(FORMATS)}: that says the format")
    return FORMATS[suffix.lower()]


def encoded(png: bytes, kind: str) -> bytes:
    """The picture of a PNG file as a file of this format, by Pillow's name."""
    if kind == "PNG":
        return png
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as opened:
        opened.convert("RGB").save(buffer, kind, quality=QUALITY)
    return buffer.getvalue()
