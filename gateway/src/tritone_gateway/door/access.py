"""Who asks, and how much more he may ask for in this minute."""

import hashlib
import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import Literal

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from tritone_gateway.door.keys import Key, KeyFile
from tritone_gateway.errors import ApiError, try_again
from tritone_gateway.settings import Limits, Settings

Kind = Literal["requests", "tokens", "pictures", "audio_seconds"]
UNLIMITED = Limits(requests=0, tokens=0, pictures=0, audio_seconds=0)


class RefusesToStart(Exception):
    """The gateway would be open to people it was not opened for; the message says how to go on."""


class Caller:
    """Somebody who may ask.

    Args:
        name: of his key; "" where no keys are in force.
        limits: what he may ask for in a minute.
        limiter: what counts it, for all callers.
        known: whether his key is still taken.
    """

    def __init__(
        self, name: str, limits: Limits, limiter: FixedWindowRateLimiter, known: Callable[[], bool] = lambda: True
    ) -> None:
        self.name, self._known = name, known
        self._limits = limits
        self._limiter = limiter

    def check_key(self) -> None:
        """Raises: ApiError: 401: his key was removed meanwhile."""
        if not self._known():
            raise _unauthorised("the key is not taken any more")

    @property
    def pseudonym(self) -> str:
        """Tells callers apart without their names."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]

    async def take(self, kind: Kind, amount: int = 1) -> None:
        """Count what is known beforehand.

        Raises: ApiError: 429, which says when the minute is over; or 400 where no minute has so much.
        """
        limit = getattr(self._limits, kind)
        if not limit or not amount:
            return
        if amount > limit:
            raise ApiError(400, f"{amount} {kind} are asked for at once, the key's limit is {limit} a minute")
        if not await self._limiter.hit(RateLimitItemPerMinute(limit), self.name, kind, cost=amount):
            raise await self._spent(kind, limit)

    async def check(self, kind: Kind) -> None:
        """Whether anything is left of what is only known when it is done.

        Raises: ApiError: 429.
        """
        limit = getattr(self._limits, kind)
        if limit and not await self._limiter.test(RateLimitItemPerMinute(limit), self.name, kind):
            raise await self._spent(kind, limit)

    async def spend(self, kind: Kind, amount: float) -> None:
        """Count what was done, even over the limit: the next request is refused then."""
        limit = getattr(self._limits, kind)
        if limit and amount > 0:
            await self._limiter.hit(RateLimitItemPerMinute(limit), self.name, kind, cost=max(1, round(amount)))

    async def left(self) -> list[dict[str, str | int | float]]:
        """What is left of requests and tokens, as realtime's `rate_limits.updated` has it; empty without limits."""
        found: list[dict[str, str | int | float]] = []
        for kind in ("requests", "tokens"):
            if limit := getattr(self._limits, kind):
                over = await self._limiter.get_window_stats(RateLimitItemPerMinute(limit), self.name, kind)
                seconds = round(max(0.0, over.reset_time - time.time()), 3)
                found.append({"name": kind, "limit": limit, "remaining": over.remaining, "reset_seconds": seconds})
        return found

    async def _spent(self, kind: Kind, limit: int) -> ApiError:
        over = await self._limiter.get_window_stats(RateLimitItemPerMinute(limit), self.name, kind)
        after = max(0.1, over.reset_time - time.time())
        what = kind.replace("_", " ")
        message = f"this key's limit of {limit} {what} a minute is reached; try again in {after:.1f} s"
        return try_again(message, after, "rate_limit_exceeded")


class Access:
    """Tells who asks by the key he shows."""

    def __init__(self, settings: Settings) -> None:
        self._default = settings.limits
        self._keys = KeyFile(settings.keys) if settings.keys and not settings.open else None
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        if self._keys:
            self._keys.in_force()  # read now: these stay in force if the file breaks before the first request

    @property
    def is_open(self) -> bool:
        """Whether no keys are in force."""
        return self._keys is None

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who asks.

        Raises: ApiError: 401.
        """
        if self._keys is None:
            return Caller("", UNLIMITED, self._limiter)
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise _unauthorised("no key was sent: it belongs into the header 'Authorization: Bearer sk-…'")
        key = self._keys.find(secret.strip())
        if key is None:
            raise _unauthorised("the key is not known here")
        own = key.limits.model_dump(exclude_unset=True) if key.limits else {}
        return Caller(key.name, self._default.model_copy(update=own), self._limiter, lambda: self._has(key))

    def _has(self, key: Key) -> bool:
        listed = self._keys.in_force() if self._keys else []
        return any(known.sha256 == key.sha256 for known in listed)


def may_start(settings: Settings) -> str:
    """One line on who may ask.

    Raises: RefusesToStart. KeysUnreadable.
    """
    if settings.open:
        return "open: anybody who reaches this address may ask, without a key"
    if settings.keys:
        number = len(KeyFile(settings.keys).keys())
        return f"closed: {number} key{'' if number == 1 else 's'} of {settings.keys} may ask"
    if is_loopback(settings.host):
        return "open on this machine alone: no keys are in force (--keys FILE)"
    raise RefusesToStart(
        f"{settings.host} can be reached by others, and no keys are in force: make one by `tritone gateway keys add "
        "NAME` and pass --keys FILE, or say --open"
    )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _unauthorised(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})
