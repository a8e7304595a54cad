"""What a WebSocket tells in another way than a request: its key."""

from collections.abc import Mapping

from starlette.types import Scope

PROTOCOL = "realtime"  # what a browser's sub-protocols are answered with
KEY = "openai-insecure-api-key."  # a page cannot set headers, so its key comes as one of the sub-protocols
BETA = "openai-beta.realtime-v1"


def headers_of_socket(scope: Scope, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The headers; a key among the sub-protocols stands where others send theirs."""
    secret = next((name.removeprefix(KEY) for name in scope["subprotocols"] if name.startswith(KEY)), None)
    if secret is None or "authorization" in headers:
        return headers
    return {**headers, "authorization": f"Bearer {secret}"}
