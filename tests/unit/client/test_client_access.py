"""Addresses, TLS, tokens and metadata."""

import fake_triton
import grpc
import pytest
from fake_triton import PATIENCE_S, Triton

from tritone_client import InvalidInput, ServerUnavailable
from tritone_client.transports.access import Access, Address, addresses_of
from tritone_client.transports.grpc import GrpcTransport


@pytest.fixture
def locked(certificates):
    """A server that shows its certificate and wants to see the client's."""
    pair = ((certificates / "server.key").read_bytes(), (certificates / "server.pem").read_bytes())
    roots = (certificates / "ca.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([pair], roots, require_client_auth=True)
    service = fake_triton.start(Triton(), credentials)
    yield service
    fake_triton.stop(service)


def test_both_sides_show_their_certificates(connect, certificates, locked):
    files = {
        "ca": certificates / "ca.pem",
        "certificate": certificates / "client.pem",
        "key": certificates / "client.key",
    }
    client = connect(f"grpcs://{locked.url}", timeout_s=PATIENCE_S, **files)
    assert client.ask("你好").text == "你好"
    assert [chunk.text for chunk in client.ask_stream("go on")] == ["one ", "two"]


@pytest.mark.parametrize("ca", ["other.pem", None])
def test_a_server_that_nobody_trusts_is_not_spoken_to(connect, certificates, locked, ca):
    files = {"certificate": certificates / "client.pem", "key": certificates / "client.key"}
    client = connect(f"grpcs://{locked.url}", retries=0, timeout_s=PATIENCE_S, ca=ca and certificates / ca, **files)
    with pytest.raises(ServerUnavailable):
        client.ask("Hello")
    assert locked.requests == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ca": "nowhere.pem"}, "cannot be used: .*No such file"),
        ({"ca": __file__}, "ca, certificate or key cannot be used"),
        ({"certificate": "client.pem"}, "belong together"),
        ({"token": "a\nb"}, "'authorization' must"),
        ({"metadata": {"x-user": "小明"}}, "'x-user' must"),
        ({"metadata": {"x user": "joe"}}, "'x user' must"),
    ],
)
def test_what_opens_no_door_is_refused_when_the_client_is_made(connect, options, words):
    with pytest.raises(InvalidInput, match=words):
        connect("grpcs://localhost:8001", **options)


def test_a_token_and_metadata_go_with_every_request(connect, triton):
    client = connect(triton.url, token="secret", metadata={"X-Team": "red", "x-trace": "client"})
    client.ask("Hello", metadata={"x-trace": "call"})
    list(client.ask_stream("Hello"))
    client.is_ready()
    for sent in triton.metadata:
        assert (sent["authorization"], sent["x-team"]) == ("Bearer secret", "red")
    assert [sent["x-trace"] for sent in triton.metadata] == ["call", "client", "client"]
    with pytest.raises(InvalidInput, match="'x-user'"):
        client.ask("Hello", metadata={"x-user": "小明"})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("localhost:8001", Address("grpc", "localhost", 8001)),
        ("localhost", Address("grpc", "localhost", 8001)),
        ("grpc://10.0.0.1:9", Address("grpc", "10.0.0.1", 9)),
        ("grpcs://tritone.example", Address("grpcs", "tritone.example", 443)),
        ("http://localhost:8000/", Address("http", "localhost", 8000)),
        ("https://tritone.example/voices/", Address("https", "tritone.example", 443, "/voices")),
        ("[::1]:8001", Address("grpc", "::1", 8001)),
    ],
)
def test_addresses_are_read(url, address):
    assert addresses_of(url, Access()) == [address]


@pytest.mark.parametrize(
    "url", ["", "ftp://localhost", "localhost:port", "grpc://", "http://localhost?a=b", "[::1", [], ["a:1", "http://b"]]
)
def test_what_is_no_address_is_refused_with_examples(connect, url):
    with pytest.raises(InvalidInput, match=r"must be .*localhost:8001, grpcs://"):
        connect(url)


def test_files_for_tls_need_tls(connect, certificates):
    with pytest.raises(InvalidInput, match="grpc:// is not encrypted: use grpcs://"):
        connect("localhost:8001", ca=certificates / "ca.pem")


@pytest.mark.parametrize(("host", "in_turn"), [("tritone.example", True), ("localhost", False), ("10.0.0.1", False)])
def test_a_name_may_have_several_addresses_which_grpc_asks_in_turn(host, in_turn):
    options = dict(GrpcTransport(Address("grpc", host, 8001), Access())._options)
    assert ("round_robin" in options.get("grpc.service_config", "")) is in_turn
