"""Answers that come piece by piece. Nothing here holds more than one piece, and closing one closes its source."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from openai import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

import tritone_client
from tritone_gateway.errors import ApiError, of_the_server, unknown

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"
NEVER_STORED = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def event(payload: BaseModel | dict[str, object], name: str | None = None) -> bytes:
    """A server-sent event: one line of JSON, with the fields that were set."""
    if isinstance(payload, BaseModel):
        data = payload.to_json(indent=None, exclude_unset=True)
    else:
        data = json.dumps(payload, ensure_ascii=False)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data}\n\n".encode()


async def begun(pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The same pieces, after the first is there: what fails before it is an error with its own status.

    Raises: whatever the first piece does.
    """
    try:
        first = await anext(pieces)
    except BaseException:
        await pieces.aclose()
        raise

    async def all_of_them() -> AsyncGenerator[T, None]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return all_of_them()


class Stream(Response):
    """Bytes as they come. One that fails midway ends without its end, so that nobody takes it for whole."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type, headers=NEVER_STORED)
        del self.headers["content-length"]
        self.pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        async with aclosing(self.pieces):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in self.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class EventStream(Stream):
    """Server-sent events; an error in the middle is one of them, and a long silence has comments in it."""

    def __init__(self, events: AsyncGenerator[bytes, None], request_id: str, keep_alive_s: float) -> None:
        super().__init__(_alive(_with_error(events, request_id), keep_alive_s), "text/event-stream")


async def _with_error(events: AsyncGenerator[bytes, None], request_id: str) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        try:
            async for each in events:
                yield each
        except ApiError as error:
            yield event(dict(error.as_dict()), "error")
        except tritone_client.Error as error:
            yield event(dict(of_the_server(error, {}).as_dict()), "error")
        except Exception as error:
            yield event(dict(unknown(error, request_id).as_dict()), "error")


async def _alive(events: AsyncGenerator[bytes, None], keep_alive_s: float) -> AsyncGenerator[bytes, None]:
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait((coming,), timeout=keep_alive_s)
            if not done:
                yield KEEP_ALIVE
                continue
            try:
                piece, coming = coming.result(), None
            except StopAsyncIteration:
                return
            yield piece
    finally:
        if coming is not None and not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await events.aclose()
