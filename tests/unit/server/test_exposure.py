"""Who reaches the server: metrics stay on this machine unless asked otherwise; an old server open to others says so."""

from pathlib import Path

import pytest

from tritone.server import tritonserver
from tritone.server.tritonserver import Ports, Tritonserver, exposure_warning

IMAGE = Tritonserver(Path("/opt/tritonserver/bin/tritonserver"), "here")
OLD, MENDED = (2, 51), (2, 71)


def ports(host: str, **more: str) -> Ports:
    return Ports(host, 8000, 8001, 8002, 8003, **more)


def addresses(given: Ports) -> dict[str, str]:
    arguments = tritonserver.command(IMAGE, Path("/scratch"), given, "key")
    return dict(argument[2:].split("-address=") for argument in arguments if "-address=" in argument)


def test_metrics_stay_on_this_machine_where_requests_come_from_anywhere():
    assert addresses(ports("0.0.0.0")) == {"http": "0.0.0.0", "grpc": "0.0.0.0", "metrics": "127.0.0.1"}


def test_metrics_listen_where_they_are_told():
    given = ports("127.0.0.1", metrics_host="0.0.0.0")
    assert addresses(given) == {"http": "127.0.0.1", "grpc": "127.0.0.1", "metrics": "0.0.0.0"}
    assert tritonserver.local(given.metrics_host) == "127.0.0.1"
    assert tritonserver.local("::") == "[::1]"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "[::1]", "localhost"])
def test_a_server_for_this_machine_alone_is_not_warned_about(host):
    assert exposure_warning(ports(host), OLD) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "192.168.1.2", "fe80::1", "server.example.org"])
def test_an_old_server_open_to_others_is_warned_about_with_its_holes(host):
    warning = exposure_warning(ports(host), OLD)
    for words in ("WARNING", "2.51", host, "26.07", "CVE-2025-23316", "CVE-2026-47627"):
        assert words in warning
    assert exposure_warning(ports(host), (2, 70)) is not None
    assert exposure_warning(ports(host), MENDED) is None
    assert exposure_warning(ports(host), (3, 0)) is None


def test_a_server_of_unknown_version_is_warned_about():
    assert "unknown version" in exposure_warning(ports("0.0.0.0"), None)
