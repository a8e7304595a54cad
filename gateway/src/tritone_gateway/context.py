"""What an endpoint needs besides its request's body."""

from dataclasses import dataclass
from typing import Annotated, TypedDict

from fastapi import Depends, Request

from tritone_client import AsyncClient
from tritone_gateway.catalog import Catalogue
from tritone_gateway.door.access import Caller
from tritone_gateway.metrics import Metrics
from tritone_gateway.settings import Settings


class Delivery(TypedDict):
    """How the server is asked: every verb of the client takes these."""

    timeout_s: float
    request_id: str


@dataclass(frozen=True)
class Context:
    """One request's surroundings."""

    client: AsyncClient
    settings: Settings
    metrics: Metrics
    catalogue: Catalogue
    caller: Caller
    request_id: str

    @property
    def delivery(self) -> Delivery:
        """The caller's request id goes on to Triton's log."""
        return {"timeout_s": self.settings.timeout_s, "request_id": self.request_id}

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


def context(request: Request) -> Context:
    """See Context."""
    state, app = request.state, request.app.state
    return Context(app.client, app.settings, app.metrics, app.catalogue, state.caller, state.request_id)


Here = Annotated[Context, Depends(context)]
