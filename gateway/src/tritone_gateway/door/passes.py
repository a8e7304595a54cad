"""Keys for a browser: made for somebody with a key, taken by WebSockets alone, and gone after minutes. In memory."""

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from tritone_gateway.door.access import Caller
from tritone_gateway.door.keys import hash_of
from tritone_gateway.errors import ApiError

PREFIX = "ek_"
MOST = 10_000  # at a time; the oldest go first


@dataclass(frozen=True)
class Pass:
    """What such a key stands for."""

    caller: Caller  # whose limits it shares
    session: dict[str, Any]  # as it is to begin: a `session.update`
    expires_at: int  # seconds since 1970


class Passes:
    """All that are in force."""

    def __init__(self) -> None:
        self._passes: OrderedDict[str, Pass] = OrderedDict()

    def add(self, made: Pass) -> str:
        """A new key, to be shown once."""
        self._make_room()
        secret = PREFIX + secrets.token_urlsafe(32)
        self._passes[hash_of(secret)] = made
        return secret

    def _make_room(self) -> None:
        while self._passes:
            oldest = next(iter(self._passes.values()))
            if len(self._passes) < MOST and oldest.expires_at >= time.time():
                return
            self._passes.popitem(last=False)

    def find(self, secret: str) -> Pass | None:
        """What a key stands for; None: it is one of another kind.

        Raises: ApiError: 401: it is over, or none was made.
        """
        if not secret.startswith(PREFIX):
            return None
        found = self._passes.get(hash_of(secret))
        if found is None or found.expires_at < time.time():
            raise ApiError(401, "the session's key is over, or not known here: make another", code="invalid_api_key")
        return found
