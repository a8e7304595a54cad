"""The real server with the project's models, started once per run and stopped at its end."""

import pytest

from tritone.server import background


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A `background.Address`: http, grpc, metrics, watchdog ("host:port") and the process of `tritone serve`."""
    log = tmp_path_factory.mktemp("server") / "server.log"
    try:
        with background.serve("--device=cpu", timeout_s=600, log_file=log) as address:
            yield address
    except background.DidNotStart as error:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:] if log.exists() else []
        pytest.fail("\n".join([f"tritone serve did not start: {error}", *tail]), pytrace=False)
