"""The real server with the project's models, started once per run and stopped at its end."""

import pytest

from tritone.server import background
from tritone_client import Client
from tritone_gateway import background as gateway

LINES = 30


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("server") / "server.log"


@pytest.fixture(scope="session")
def server(log):
    """A `background.Address`: http, grpc, metrics, watchdog ("host:port") and the process of `tritone serve`."""
    try:
        with background.serve("--device=cpu", timeout_s=600, log_file=log) as address:
            yield address
    except background.DidNotStart as error:
        pytest.fail(f"tritone serve did not start: {error}\n{tail(log)}", pytrace=False)


@pytest.fixture(scope="module")
def client(server):
    with Client(server.grpc) as client:
        yield client


@pytest.fixture(scope="session")
def gateway_url(server):
    """The address of `tritone gateway`, on a port of its own."""
    with gateway.serve(server.grpc) as started:
        assert started.said[0].startswith("open on this machine alone")
        yield started.url
        started.process.terminate()
        assert started.process.wait(40) is not None


@pytest.fixture(autouse=True)
def server_lives(request):
    """A test during which the server ends says how it ended, and so do those behind it, at once."""
    if "server" not in request.fixturenames:
        yield
        return
    process, log = request.getfixturevalue("server").process, request.getfixturevalue("log")
    check(process, log)
    yield
    check(process, log)


def check(process, log):
    if (code := process.poll()) is not None:
        pytest.fail(f"tritone serve has ended with {code}; the end of its log:\n{tail(log)}", pytrace=False)


def tail(log):
    """The last lines of a log, if there is one."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LINES:])
