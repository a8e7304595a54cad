"""/v1/realtime/client_secrets: keys for browsers; and /v1/realtime/calls, which is WebRTC and is not served."""

import json
import time
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tritone_gateway.context import Here
from tritone_gateway.door.passes import Pass
from tritone_gateway.errors import ApiError, invalid
from tritone_gateway.realtime.configuration import Configuration
from tritone_gateway.realtime.events import loaded, new_id
from tritone_gateway.realtime.session import checked
from tritone_gateway.requests import ApiRequest

router = APIRouter()
MOST_BYTES = 2**16  # of a session as JSON


class Expiry(BaseModel):
    """When a key is over."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7200)


class SecretRequest(ApiRequest):
    """The body of /v1/realtime/client_secrets."""

    expires_after: Expiry | None = None
    session: dict[str, Any] = Field(default_factory=dict)


@router.post("/v1/realtime/client_secrets")
async def create(request: SecretRequest, here: Here) -> JSONResponse:
    """A key with which a page may open sessions that begin as `session` says."""
    session = {"type": "realtime", **_read(request.session)}
    kind = "transcription" if session["type"] == "transcription" else "realtime"
    model = session.get("model") or ("llava" if kind == "realtime" else None)
    configuration = Configuration(kind, model, checked(here))
    configuration.update(session, may_change_kind=False)
    seconds = request.expires_after.seconds if request.expires_after else here.settings.realtime.secret_s
    expires_at = int(time.time()) + seconds
    secret = here.passes.add(Pass(here.caller, session, expires_at))
    told = configuration.told(new_id("sess"), expires_at).to_dict()
    return JSONResponse({"value": secret, "expires_at": expires_at, "session": told})


def _read(session: dict[str, Any]) -> dict[str, Any]:
    """A session as an event would have it, which is kept for as long as its key lasts.

    Raises: ApiError: 400: it is too large, too deep, or no text.
    """
    text = json.dumps(session)
    if len(text) > MOST_BYTES:
        raise invalid(f"session has {len(text)} bytes, the limit is {MOST_BYTES}", "session", "too_large")
    return loaded(text)


@router.post("/v1/realtime/calls")
async def call() -> None:
    """Raises: ApiError: 404, as there is no WebRTC here."""
    message = "WebRTC is not served here: open a WebSocket at /v1/realtime?model=llava"
    raise ApiError(404, message, code="webrtc_not_served")
