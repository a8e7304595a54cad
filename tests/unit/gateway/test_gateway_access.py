"""Who may ask, and how much: keys, limits, and where the gateway does not start."""

import json
import re
import socket

import httpx
import openai
import pytest
from typer.testing import CliRunner

from tritone_client import AsyncClient, MockTransport
from tritone_gateway import background, cli
from tritone_gateway.cli import app
from tritone_gateway.door.access import RefusesToStart, may_start
from tritone_gateway.door.keys import KeyFile, KeysUnreadable
from tritone_gateway.settings import Limits, Settings

CHAT = {"model": "llava", "messages": [{"role": "user", "content": "?"}]}
ALOUD = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "mp3"}}
SPEECH = {"model": "tts", "voice": "alloy", "input": "Hello."}
PICTURE = "data:image/gif;base64,R0lGODlhAQABAAAAACw="


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "keys.json")


def test_only_who_shows_a_key_may_ask(serve, file):
    secret = file.add("ann")
    gateway = serve(keys=file.path)
    assert gateway.sdk.with_options(api_key=secret).chat.completions.create(**CHAT).choices[0].message.content
    for headers in ({}, bearer("sk-tritone-wrong"), bearer(secret + "a"), {"Authorization": secret}):
        answer = gateway.http.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["x-request-id"]
    assert len(gateway.transport.requests) == 1


def test_everything_but_the_probes_is_closed(serve, file):
    file.add("ann")
    gateway = serve(keys=file.path)
    paths = ["/v1/models", "/v1/audio/voices", "/metrics", "/openapi.json", "/nothing"]
    assert [gateway.http.get(path).status_code for path in paths] == [401] * 5
    assert [gateway.http.get(path).status_code for path in ("/health", "/ready")] == [200, 200]


def test_a_key_that_is_removed_ends_at_once_and_a_new_one_is_taken_at_once(serve, file):
    first = file.add("ann")
    gateway = serve(keys=file.path)
    second = file.add("bob")
    file.remove("ann")
    models = [gateway.http.get("/v1/models", headers=bearer(secret)).status_code for secret in (first, second)]
    assert models == [401, 200]


def test_the_file_holds_no_key_and_is_its_owners_alone(file):
    secret = file.add("ann", Limits(requests=5))
    written = file.path.read_text()
    assert secret.startswith("sk-tritone-")
    assert secret not in written
    assert secret.removeprefix("sk-tritone-") not in written
    assert re.fullmatch("[0-9a-f]{64}", json.loads(written)["keys"][0]["sha256"])
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_none_is_named(file):
    with pytest.raises(KeysUnreadable, match="cannot be read"):
        file.keys()
    file.path.write_text("[]")
    with pytest.raises(KeysUnreadable, match="is no file of keys"):
        file.keys()


NOT_A_HASH = '{"keys": [{"name": "安", "sha256": "é", "created": "2026-01-01T00:00:00Z"}]}'


@pytest.mark.parametrize(
    ("content", "said"), [("broken", "is no file of keys"), (NOT_A_HASH, "keys.0.sha256"), (None, "cannot be read")]
)
def test_while_a_file_of_keys_is_broken_those_that_it_had_stay_in_force(serve, file, caplog, content, said):
    secret = file.add("ann")
    http = serve(keys=file.path).http
    whole = file.path.read_bytes()

    def asked():
        return [http.get("/v1/models", headers=bearer(each)).status_code for each in (secret, "sk-tritone-other")]

    def broken():
        file.path.unlink() if content is None else file.path.write_text(content, "utf-8")
        return asked() + asked()

    assert broken() == [200, 401] * 2
    logged = [record.getMessage() for record in caplog.records if record.name == "tritone_gateway"]
    assert len(logged) == 1
    assert str(file.path) in logged[0]
    assert said in logged[0]
    assert "the 1 keys that it had before stay in force" in logged[0]
    file.path.write_bytes(whole)
    file.add("bob")
    file.remove("ann")
    assert asked() == [401, 401]
    assert broken() == [401, 401] * 2
    assert len([record for record in caplog.records if record.name == "tritone_gateway"]) == 2


@pytest.mark.parametrize("name", ["", " ", "ann\nbob", "\x1b[2J", "a\u202eb", "a\udcff"])
def test_a_name_that_cannot_be_shown_is_refused(file, name):
    refused = CliRunner().invoke(app, ["keys", "add", "--file", str(file.path), "--", name])
    assert (refused.exit_code, refused.stdout, file.path.exists()) == (2, "", False)
    assert f"a key's name is {name!r}, must be visible" in refused.stderr
    file.add("安娜 B.")
    file.path.write_text(file.path.read_text("utf-8").replace("安娜 B.", "\\u001b[2J"), "utf-8")
    with pytest.raises(KeysUnreadable, match=r"keys\.0\.name: .*must be visible"):
        file.keys()


def test_requests_over_the_limit_are_told_when_to_come_again(serve, file):
    secret = file.add("ann", Limits(requests=2))
    sdk = serve(keys=file.path).sdk.with_options(api_key=secret)
    for _ in range(2):
        sdk.chat.completions.create(**CHAT)
    with pytest.raises(openai.RateLimitError, match="2 requests a minute") as caught:
        sdk.chat.completions.create(**CHAT)
    headers = caught.value.response.headers
    assert 0 < int(headers["retry-after-ms"]) <= 60_000
    assert 0 < int(headers["retry-after"]) <= 60
    assert caught.value.code == "rate_limit_exceeded"


def test_one_key_does_not_use_up_anothers_share(serve, file):
    ann, bob = file.add("ann", Limits(requests=1)), file.add("bob", Limits(requests=1))
    http = serve(keys=file.path).http
    asked = [http.get("/v1/models", headers=bearer(secret)).status_code for secret in (ann, ann, bob)]
    assert asked == [200, 429, 200]


@pytest.mark.parametrize(
    ("limits", "path", "body", "what"),
    [
        (Limits(tokens=10), "chat/completions", CHAT, "10 tokens"),
        (Limits(tokens=10), "chat/completions", {**CHAT, "stream": True}, "10 tokens"),
        (Limits(tokens=9), "chat/completions", {**CHAT, **ALOUD}, "9 tokens"),
        (Limits(audio_seconds=1), "chat/completions", {**CHAT, **ALOUD}, "1 audio seconds"),
        (Limits(pictures=1), "embeddings", {"model": "clip", "input": PICTURE}, "1 pictures"),
        (Limits(pictures=1), "images/generations", {"prompt": "a"}, "1 pictures"),
        (
            Limits(audio_seconds=1),
            "audio/speech",
            {"model": "tts", "voice": "alloy", "input": "Hello."},
            "1 audio seconds",
        ),
    ],
)
def test_every_kind_of_work_has_its_limit(serve, file, limits, path, body, what):
    secret = file.add("ann", limits)
    http = serve(keys=file.path).http
    http.headers = bearer(secret)
    assert http.post(f"/v1/{path}", json=body).status_code == 200
    again = http.post(f"/v1/{path}", json=body)
    assert (again.status_code, f"limit of {what} a minute" in again.json()["error"]["message"]) == (429, True)


def test_heard_seconds_count(serve, file):
    secret = file.add("ann", Limits(audio_seconds=2))
    http = serve(keys=file.path).http
    codes = []
    for _ in range(2):
        form = {"model": (None, "whisper"), "file": ("a.wav", b"RIFF")}
        codes.append(http.post("/v1/audio/transcriptions", files=form, headers=bearer(secret)).status_code)
    assert codes == [200, 429]


def test_more_than_a_minute_has_is_no_matter_of_waiting(serve, file):
    secret = file.add("ann", Limits(pictures=1))
    answer = serve(keys=file.path).http.post(
        "/v1/images/generations", json={"prompt": "a", "n": 3}, headers=bearer(secret)
    )
    assert (answer.status_code, "limit is 1 a minute" in answer.json()["error"]["message"]) == (400, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_beyond_this_machine_it_does_not_start_without_keys(host):
    with pytest.raises(RefusesToStart, match="--keys FILE, or say --open"):
        may_start(Settings(host=host))
    assert "without a key" in may_start(Settings(host=host, open=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_it_is_open_and_says_so(host):
    assert may_start(Settings(host=host)) == "open on this machine alone: no keys are in force (--keys FILE)"


def test_with_keys_it_starts_anywhere(file):
    file.add("ann")
    assert may_start(Settings(host="0.0.0.0", keys=file.path)) == f"closed: 1 key of {file.path} may ask"


def test_the_command_shows_a_key_once_lists_and_removes(tmp_path):
    def run(*words):
        return CliRunner().invoke(app, ["keys", *words, "--file", str(tmp_path / "keys.json")])

    added = run("add", "ann", "--requests", "5")
    secret = added.stdout.strip().splitlines()[-1]
    assert KeyFile(tmp_path / "keys.json").find(secret).name == "ann"
    listed = run("list").stdout
    assert "ann" in listed
    assert "5 requests" in listed
    assert secret not in listed
    assert run("add", "ann").exit_code == 2
    assert run("remove", "ann").exit_code == 0
    assert run("remove", "ann").exit_code == 2
    assert KeyFile(tmp_path / "keys.json").find(secret) is None


def test_the_command_refuses_to_serve_everybody_by_accident():
    refused = CliRunner().invoke(app, ["--host", "0.0.0.0", "--port", "0"])
    assert refused.exit_code == 2
    assert "0.0.0.0 can be reached by others" in refused.stderr


def test_a_gateway_in_the_background_is_ready_or_says_that_it_is_not():
    with background.serve("127.0.0.1:9") as gateway:
        assert gateway.said[0].startswith("open on this machine alone")
        assert httpx.get(f"{gateway.url}/health").json() == {"status": "ok"}
    assert gateway.process.poll() is not None
    with pytest.raises(background.DidNotStart, match="exit code 2"), background.serve("127.0.0.1:9", "--host=0.0.0.0"):
        pass


def test_a_secret_is_compared_with_every_hash_in_the_same_way(file, monkeypatch):
    compared = []
    secrets = [file.add(name) for name in ("ann", "bob", "eve")]

    def compare(one, other):
        compared.append(other)
        return one == other

    monkeypatch.setattr("tritone_gateway.door.keys.hmac.compare_digest", compare)
    assert file.find(secrets[0]).name == "ann"
    assert len(compared) == 3


def test_pages_of_other_origins_may_ask_only_where_they_are_named(serve):
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    closed, opened = serve(), serve(cors=("https://page.example",))
    assert "access-control-allow-origin" not in closed.http.get("/v1/models", headers=asked).headers
    answer = opened.http.options("/v1/models", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert "x-request-id" in opened.http.get("/v1/models", headers=asked).headers["access-control-expose-headers"]


def test_who_has_no_key_is_refused_before_his_body_is_read(serve, file):
    file.add("ann")
    port = httpx.URL(serve(keys=file.path).url).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
        caller.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n")
        assert caller.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_the_body_of_an_answer_does_not_wait_until_its_head_is_acknowledged():
    with cli._listen(Settings(port=0)) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_idle_connection_is_kept_longer_than_clients_and_balancers_keep_it():
    client = AsyncClient(transport=MockTransport(lambda request: {}))
    assert cli._config(Settings(), client).timeout_keep_alive > 60
    assert cli._config(Settings(idle_s=7), client).timeout_keep_alive == 7


def test_a_name_that_was_pointed_here_reaches_neither_the_page_nor_a_model(serve, tmp_path):
    """A page of bad.example, whose name now leads to this machine, is of the origin that it asks: no CORS holds it."""
    gateway = serve()
    port = gateway.url.rsplit(":", 1)[1]
    for address in ("/", "/v1/models", "/health"):
        answer = gateway.http.get(address, headers={"host": f"bad.example:{port}"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "host_not_allowed")
        assert "'bad.example:" in answer.json()["error"]["message"]
    assert gateway.http.get("/", headers={"host": "[::1"}).status_code == 403
    for host in ("localhost", "127.0.0.1:1", "[::1]", "tritone.localhost"):
        assert gateway.http.get("/v1/models", headers={"host": host}).status_code == 200
    assert serve(open=True).http.get("/v1/models", headers={"host": "bad.example"}).status_code == 200
    KeyFile(tmp_path / "keys.json").add("ada", None)
    assert serve(keys=tmp_path / "keys.json").http.get("/", headers={"host": "good.example"}).status_code == 200
