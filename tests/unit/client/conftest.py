"""Clients of either kind, and a server that speaks Triton's protocol and misbehaves on demand."""

import socket

import fake_triton
import pytest
from blocking import Blocking
from fake_triton import PATIENCE_S, Triton

from tritone_client import AsyncClient, Client, MockTransport


@pytest.fixture
def triton():
    service = fake_triton.start(Triton())
    yield service
    fake_triton.stop(service)


@pytest.fixture
def fellow():
    """A second server."""
    service = fake_triton.start(Triton())
    yield service
    fake_triton.stop(service)


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request):
    """Makes clients of either kind, with the arguments of `Client`."""
    made = []

    def connect(*args, **options):
        if request.param == "Client":
            client = Client(*args, **options)
        else:
            client = Blocking(lambda: AsyncClient(*args, **options))
        made.append(client)
        return client

    yield connect
    for client in made:
        client.stop() if isinstance(client, Blocking) else client.close()


@pytest.fixture
def client_of(connect):
    """A client that gets these outputs to every request, and the list of its requests."""

    def client_of(outputs):
        transport = MockTransport(lambda request: outputs)
        return connect(transport=transport), transport.requests

    return client_of


@pytest.fixture
def client(triton, connect):
    """A client of the misbehaving server; what is refused is refused."""
    return connect(triton.url, timeout_s=PATIENCE_S, retries=0)


@pytest.fixture
def closed_port():
    with socket.socket() as held:  # bound but not listening: nobody else gets it, and it refuses
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
