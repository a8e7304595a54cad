"""Whether a page may ask: by the name under which it found this gateway, and by where it comes from itself."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from tritone_gateway.door.access import Access, is_loopback
from tritone_gateway.errors import ApiError
from tritone_gateway.settings import Settings


def check_host(headers: Mapping[str, str], settings: Settings, access: Access) -> None:
    """Where this machine alone is served without a key, a name that somebody let point to it is no name of it.

    A page of that name would be of the origin that it asks, which no browser holds back.

    Raises: ApiError: 403.
    """
    if settings.open or not access.is_open or not is_loopback(settings.host):
        return
    host = headers.get("host", "")
    _, name = _parts(f"//{host}")
    if host and not is_loopback(name) and not name.endswith(".localhost"):
        message = (
            f"this gateway is this machine's alone, and '{host[:200]}' is another: --open or --keys FILE let it in"
        )
        raise ApiError(403, message, code="host_not_allowed")


def check_origin(headers: Mapping[str, str], settings: Settings, access: Access) -> None:
    """Lets in programs, our own pages, and those that the setting `cors` names.

    Raises: ApiError: 403: a page from somewhere else, which a browser would let use this machine's open gateway.
    """
    origin = headers.get("origin")
    if origin is None or origin in settings.cors or "*" in settings.cors:
        return
    place, name = _parts(origin)
    # A name that somebody let point to this machine is no name of it: nobody else's page comes from loopback.
    ours = settings.open or not access.is_open or not is_loopback(settings.host) or is_loopback(name)
    if place != headers.get("host", "") or not ours:
        message = f"pages of {origin[:200]} may not use this gateway; `--cors {origin[:200]}` lets them"
        raise ApiError(403, message, code="origin_not_allowed")


def _parts(url: str) -> tuple[str, str]:
    """The host of an address with its port, and its name alone; empty where it is no address."""
    try:
        parts = urlsplit(url)
        return parts.netloc, parts.hostname or ""
    except ValueError:
        return "", ""
