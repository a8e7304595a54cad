"""The gateway on a real port, as the SDK and browsers need one, with a mock of the server behind it."""

import asyncio
import contextlib
import socket
import threading
import time
from dataclasses import dataclass

import httpx
import openai
import uvicorn

from tritone_client import AsyncClient, MockTransport
from tritone_gateway.app import create_app
from tritone_gateway.door.connection import bounded, sockets
from tritone_gateway.settings import Settings


@dataclass
class Gateway:
    """A running gateway: its address, OpenAI's SDK and a plain client in front, and the mock behind."""

    url: str
    sdk: openai.OpenAI
    http: httpx.Client
    transport: MockTransport

    @property
    def asked(self):
        """The last request that reached the server."""
        return self.transport.requests[-1]


class Slow(MockTransport):
    """A server that answers the first piece, and then is long about it: until its caller leaves, or `go_on`."""

    def __init__(self, handler):
        super().__init__(handler)
        self.busy, self.left, self.go_on = threading.Event(), threading.Event(), threading.Event()

    async def ainfer(self, request):
        await self._wait()
        return await super().ainfer(request)

    async def astream(self, request):
        async for part in super().astream(request):
            yield part
            await self._wait()

    async def _wait(self):
        self.busy.set()
        try:
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
        except (asyncio.CancelledError, GeneratorExit):
            self.left.set()
            raise


@contextlib.contextmanager
def running(handler, transport=None, **settings):
    """A gateway in a thread of its own."""
    transport = transport or MockTransport(handler)
    settings = Settings(**settings)
    listening = socket.create_server(("127.0.0.1", 0))
    app = create_app(settings, AsyncClient(transport=transport, retries=0))
    server = uvicorn.Server(uvicorn.Config(app, http=bounded(settings), **sockets(settings), log_config=None))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    sdk = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    with sdk, httpx.Client(base_url=url, timeout=30) as http:
        yield Gateway(url, sdk, http, transport)
    server.should_exit = True
    thread.join()
    listening.close()
