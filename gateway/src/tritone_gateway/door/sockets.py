"""What a WebSocket tells in another way than a request: its key, and which page opened it."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.types import Scope

from tritone_gateway.door.access import Access, is_loopback
from tritone_gateway.errors import ApiError
from tritone_gateway.settings import Settings

PROTOCOL = "realtime"  # what a browser's sub-protocols are answered with
KEY = "openai-insecure-api-key."  # a page cannot set headers, so its key comes as one of the sub-protocols
BETA = "openai-beta.realtime-v1"


def headers_of_socket(scope: Scope, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers; a key among the sub-protocols stands where others send theirs."""
    secret = next((name.removeprefix(KEY) for name in scope["subprotocols"] if name.startswith(KEY)), None)
    if secret is None or "authorization" in headers:
        return headers
    return {**headers, "authorization": f"Bearer {secret}"}


def check_origin(headers: Mapping[str, str], settings: Settings, access: Access) -> None:
    """Lets in programs, our own pages, and those that the setting `cors` names.

    Raises: ApiError: 403: a page from somewhere else, which a browser would let use this machine's open gateway.
    """
    origin = headers.get("origin")
    if origin is None or origin in settings.cors or "*" in settings.cors:
        return
    page, host = urlsplit(origin), headers.get("host", "")
    # A name that somebody let point to this machine is no name of it: nobody else's page comes from loopback.
    ours = settings.open or not access.is_open or not is_loopback(settings.host) or is_loopback(page.hostname or "")
    if page.netloc != host or not ours:
        message = f"pages of {origin[:200]} may not use this gateway; `--cors {origin[:200]}` lets them"
        raise ApiError(403, message, code="origin_not_allowed")
