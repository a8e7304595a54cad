"""What an endpoint needs besides its request's body."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypedDict

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from tritone_client import AsyncClient
from tritone_gateway.catalog import Catalogue
from tritone_gateway.door.access import Caller
from tritone_gateway.door.passes import Passes
from tritone_gateway.metrics import Metrics
from tritone_gateway.settings import Settings

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


class Delivery(TypedDict):
    """How the server is asked: every verb of the client takes these."""

    timeout_s: float
    request_id: str
    metadata: dict[str, str]


@dataclass(frozen=True)
class Context:
    """One request's surroundings."""

    client: AsyncClient
    settings: Settings
    metrics: Metrics
    catalogue: Catalogue
    caller: Caller
    request_id: str
    trace: dict[str, str]
    passes: Passes
    patient: AsyncClient  # asks again where it is refused: for sessions, whose callers cannot

    @property
    def delivery(self) -> Delivery:
        """The caller's request id goes on to Triton's log, his trace to its spans, and he himself without his name."""
        user = {"x-tritone-user": self.caller.pseudonym} if self.caller.name else {}
        return {
            "timeout_s": self.settings.timeout_s,
            "request_id": self.request_id,
            "metadata": self.trace | user,
        }

    async def used_tokens(self, read: int, written: int) -> None:
        """Count an answer's tokens."""
        self.metrics.tokens.labels("read").inc(read)
        self.metrics.tokens.labels("written").inc(written)
        await self.caller.spend("tokens", read + written)

    async def take_pictures(self, number: int, direction: str) -> None:
        """Count pictures that are "shown" or "drawn", beforehand. Raises: ApiError: 429."""
        await self.caller.take("pictures", number)
        self.metrics.pictures.labels(direction).inc(number)

    async def used_audio(self, seconds: float, direction: str) -> None:
        """Count sound that was "heard" or "spoken"."""
        self.metrics.audio_seconds.labels(direction).inc(seconds)
        await self.caller.spend("audio_seconds", seconds)


async def context(request: Request) -> Context:
    """See Context."""
    return context_of(request)


def context_of(request: HTTPConnection) -> Context:
    """The surroundings of a request, or of a WebSocket."""
    state, app = request.state, request.app.state
    trace = trace_of(request.headers)
    known = app.client, app.settings, app.metrics, app.catalogue
    return Context(*known, state.caller, state.request_id, trace, app.passes, app.patient)


def trace_of(headers: Mapping[str, str]) -> dict[str, str]:
    """W3C's trace context, where the caller sends a sane one."""
    if not _TRACEPARENT.fullmatch(headers.get("traceparent", "")):
        return {}
    kept = {"traceparent": headers["traceparent"]}
    state = headers.get("tracestate", "")
    return kept | ({"tracestate": state} if _TRACESTATE.fullmatch(state) else {})


Here = Annotated[Context, Depends(context)]
