"""When a request is sent again: only what was refused before it started or never reached a server, and not without end.

How often and how long is tenacity's work; the waits are those of a full jitter (Brooker, "Exponential backoff and
jitter", AWS Architecture Blog, 2015), or what the server says if that is longer.
"""

import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import tenacity

from tritone_client.calls.call import Request
from tritone_client.exceptions import InvalidInput, ModelNotReady, Overloaded, Refusal, ServerUnavailable

T = TypeVar("T")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
# A model that may be ready soon. One that nobody knows will not be, and one whose process died while it had this very
# request must not get it again.
_SOON = ("not at ready state", "no available versions", "has stopped accepting", "is not ready", "server not ready")
_backoff = tenacity.wait_random_exponential(FIRST_WAIT_S, LONGEST_WAIT_S)


class Budget:
    """Retry throttling as gRPC defines it (gRFC A6): a server that refuses most requests gets no more of them.

    A refusal takes a token, a success gives a tenth back, and there are retries while more than half of them are left.
    """

    def __init__(self, tokens: float = 100.0, ratio: float = 0.1) -> None:
        self._most, self._ratio, self._left = tokens, ratio, tokens
        self._lock = threading.Lock()

    def give(self) -> None:
        """A request went through."""
        with self._lock:
            self._left = min(self._most, self._left + self._ratio)

    def take(self) -> bool:
        """A request was refused; whether it may be sent again."""
        with self._lock:
            self._left = max(0.0, self._left - 1)
            return self._left > self._most / 2


class Retrying:
    """Sends requests, each again up to `retries` times, within its `timeout_s`."""

    def __init__(self, retries: int) -> None:
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise InvalidInput(f"retries is {retries!r}, must be a whole number of at least 0")
        self._retries = retries
        self._budget = Budget()

    def send(self, once: Callable[[Request], T], request: Request) -> T:
        """What `once` returns of the request.

        Raises: Error: the last one.
        """
        left = time_left(request)
        found = tenacity.Retrying(**self._rules(request))(lambda: once(left()))
        self._budget.give()
        return found

    async def send_async(self, once: Callable[[Request], Awaitable[T]], request: Request) -> T:
        """The same on an event loop."""
        left = time_left(request)

        async def attempt() -> T:
            return await once(left())

        found: T = await tenacity.AsyncRetrying(**self._rules(request))(attempt)
        self._budget.give()
        return found

    def _rules(self, request: Request) -> dict[str, Any]:
        return {
            "retry": tenacity.retry_if_exception(self._may_retry),
            "stop": tenacity.stop_after_attempt(self._retries + 1) | tenacity.stop_before_delay(request.timeout_s),
            "wait": _wait,
            "reraise": True,
        }

    def _may_retry(self, error: BaseException) -> bool:
        return may_be_sent_again(error) and self._budget.take()


def may_be_sent_again(error: BaseException) -> bool:
    """Whether the request that met this error has certainly not been started, and may go through later."""
    if isinstance(error, ModelNotReady):
        return error.retry_after_s is not None or any(words in str(error).lower() for words in _SOON)
    return isinstance(error, Overloaded) or (isinstance(error, ServerUnavailable) and not error.was_sent)


def time_left(request: Request) -> Callable[[], Request]:
    """Gives the request, and from the second time on with what is left of its time: all tries have one deadline."""
    start, tries = time.monotonic(), itertools.count()

    def left() -> Request:
        if not next(tries):
            return request
        return replace(request, timeout_s=max(request.timeout_s - (time.monotonic() - start), 1e-3))

    return left


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    after = error.retry_after_s if isinstance(error, Refusal) else None
    return max(_backoff(state), after or 0.0)
