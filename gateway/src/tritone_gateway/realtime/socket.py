"""The WebSocket of /v1/realtime: who may open one, how long it lasts, and how it ends."""

import asyncio
import contextlib
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from tritone_gateway.context import Context, context_of
from tritone_gateway.door.sockets import BETA, PROTOCOL
from tritone_gateway.errors import ApiError, invalid, unknown
from tritone_gateway.realtime.configuration import Configuration
from tritone_gateway.realtime.events import Outgoing
from tritone_gateway.realtime.session import Session, checked

router = APIRouter()
REFUSED = 1008  # close codes of RFC 6455
FULL = 1013
EXPIRED = 1001
DEFECT = 1011
RETIRED = 4000  # OpenAI's own


@router.websocket("/v1/realtime")
async def realtime(socket: WebSocket) -> None:
    """One session."""
    here = context_of(socket)
    offered = socket.scope["subprotocols"]
    await socket.accept(PROTOCOL if PROTOCOL in offered else None)

    async def send(text: str) -> None:
        if socket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(EXPIRED)
        await socket.send_text(text)

    outgoing = Outgoing(send)
    with contextlib.suppress(WebSocketDisconnect):
        try:
            configuration = _configuration(socket, here)
            with Seat(here):
                await _converse(socket, configuration, outgoing, here)
        except ApiError as error:
            await _refuse(socket, outgoing, error)


class Seat:
    """A place among the sessions of a gateway. Raises: ApiError: 429: all are taken."""

    def __init__(self, here: Context) -> None:
        self._gauge, most = here.metrics.sessions, here.settings.realtime.sessions
        if here.metrics.open_sessions >= most:
            message = f"the gateway holds {most} realtime sessions, which is its limit: try again later"
            raise ApiError(429, message, code="session_limit_reached")
        self._metrics = here.metrics

    def __enter__(self) -> None:
        self._metrics.open_sessions += 1
        self._gauge.inc()

    def __exit__(self, *_: object) -> None:
        self._metrics.open_sessions -= 1
        self._gauge.dec()


def _configuration(socket: WebSocket, here: Context) -> Configuration:
    """What a session begins with. Raises: ApiError."""
    if socket.headers.get("openai-beta", "").lower() == "realtime=v1" or BETA in socket.scope["subprotocols"]:
        said = "the beta of this protocol is retired: leave the header 'OpenAI-Beta: realtime=v1' away"
        raise invalid(said, None, "beta_api_shape_disabled")
    asked = socket.query_params
    if "call_id" in asked:
        raise invalid("calls over WebRTC are not served here", "call_id", "not_served")
    made = getattr(socket.state, "session", {})  # of a key for a browser
    kind = made.get("type") or ("transcription" if asked.get("intent") == "transcription" else "realtime")
    model = made.get("model") or asked.get("model")
    if kind == "realtime" and not model:
        raise invalid("no model is named: /v1/realtime?model=llava", "model", "missing_model")
    configuration = Configuration(kind, model, checked(here))
    configuration.update({"type": kind, **made}, may_change_kind=False)
    return configuration


async def _converse(socket: WebSocket, configuration: Configuration, outgoing: Outgoing, here: Context) -> None:
    session = Session(configuration, outgoing, here)
    try:
        async with asyncio.timeout(here.settings.realtime.session_s):
            await session.begin()
            while True:
                message: Any = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                here.caller.check_key()
                text = message.get("text")
                if text is None:
                    await outgoing.fault(invalid("an event is text, not bytes", None, "invalid_json"))
                else:
                    await session.handle(text)
    except TimeoutError:
        minutes = here.settings.realtime.session_s / 60
        said = f"the session has lasted {minutes:g} minutes, which is the limit"
        await outgoing.fault(ApiError(400, said, code="session_expired"))
        await socket.close(EXPIRED, "session_expired")
    except (WebSocketDisconnect, ApiError):
        raise
    except Exception as error:
        await outgoing.fault(unknown(error, here.request_id))
        await socket.close(DEFECT, "internal_error")
    finally:
        await session.end()


async def _refuse(socket: WebSocket, outgoing: Outgoing, error: ApiError) -> None:
    """Say why in an event, as a browser shows nothing of a refused handshake, and close."""
    await outgoing.fault(error)
    code = error.body.code or ""
    number = {"beta_api_shape_disabled": RETIRED, "session_limit_reached": FULL}.get(code, REFUSED)
    await socket.close(number, f"{error.body.type}.{code}")
