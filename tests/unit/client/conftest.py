"""Clients of either kind, and a server that speaks Triton's protocol and misbehaves on demand."""

import contextlib
import socket
import subprocess

import fake_triton
import fake_triton_http
import pytest
from blocking import Blocking
from fake_triton import PATIENCE_S, Triton
from fake_triton_http import HttpTriton

from tritone_client import AsyncClient, Client, MockTransport


@pytest.fixture(params=["gRPC", "HTTP"])
def wire(request):
    """The module that starts and stops servers, and the kind of them."""
    return (fake_triton, Triton) if request.param == "gRPC" else (fake_triton_http, HttpTriton)


@pytest.fixture
def scheme(wire):
    """Of an address."""
    return "grpc" if wire[1] is Triton else "http"


@pytest.fixture
def serving(wire):
    """Starts servers that are stopped at the end; `serving.stop` stops one sooner."""
    module, kind = wire
    with contextlib.ExitStack() as stack:

        def start(**options):
            service = module.start(kind(), **options)
            stack.callback(module.stop, service)
            return service

        start.stop = module.stop
        yield start


@pytest.fixture
def triton(serving):
    return serving()


@pytest.fixture
def fellow(serving):
    """A second server."""
    return serving()


@pytest.fixture
def grpc_triton():
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


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder: ca.pem, and server and client (.pem and .key), which it signed; other.pem signed nobody."""
    folder = tmp_path_factory.mktemp("certificates")
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    for name in ("ca", "other"):
        openssl(folder, *new, "-x509", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    for name in ("server", "client"):
        names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        openssl(folder, *new, "-subj", f"/CN={name}", *names, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy", "-days", "2")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    return folder
