"""Pictures and sounds inside of JSON: base64 and data URLs. No address is ever fetched."""

import base64
import binascii
import re

from tritone_gateway.errors import ApiError, invalid

_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_BREAKS = {ord(each): None for each in "\r\n"}  # which `base64` of the coreutils puts in
CITED = 40  # characters of a caller's value in an error


def of_data_url(url: str, param: str) -> bytes:
    """The bytes that a data URL holds.

    Raises: ApiError: 400: an address to fetch, or no base64.
    """
    if found := _DATA_URL.match(url):
        return of_base64(url[found.end() :], param)
    if _ADDRESS.match(url) and not url.lower().startswith("data:"):
        raise ApiError(
            400,
            f"{param} is '{url[:CITED]}': this server fetches no address; send the picture as a data URL "
            "(data:image/png;base64,...)",
            param=param,
            code="url_not_fetched",
        )
    raise invalid(f"{param} is no data URL in base64 (data:image/png;base64,...)", param)


def of_base64(text: str, param: str) -> bytes:
    """The bytes that base64, or a data URL, holds.

    Raises: ApiError: 400.
    """
    if found := _DATA_URL.match(text):
        text = text[found.end() :]
    try:
        content = base64.b64decode(text.translate(_BREAKS), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"{param} is no base64: {error}", param) from None
    if not content:
        raise invalid(f"{param} is empty", param)
    return content


def base64_of(content: bytes) -> str:
    """Bytes as text."""
    return base64.b64encode(content).decode("ascii")
