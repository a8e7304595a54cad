"""What the gateway says at /: the page's files, and how browsers are told to treat them."""

import gzip
import re

import pytest

INDEX_HEADERS = {
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.fixture(scope="module")
def index(gateway):
    return gateway.http.get("/")


def assets_of(index):
    return [f"/{name}" for name in re.findall(r'"\./(assets/[\w.-]+)"', index.text)]


def test_the_index_allows_nothing_from_elsewhere_and_nothing_inline(index):
    assert index.status_code == 200
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert {name: index.headers[name] for name in INDEX_HEADERS} == INDEX_HEADERS
    policy = dict(rule.split(" ", 1) for rule in index.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in index.headers["content-security-policy"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", index.text)


def test_what_has_its_hash_in_its_name_is_never_asked_for_again(gateway, index):
    assert {name.rsplit(".", 1)[1] for name in assets_of(index)} == {"js", "css", "svg"}
    for address in assets_of(index):
        answer = gateway.http.get(address)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].split(";")[0] in {"text/javascript", "text/css", "image/svg+xml"}


def test_a_browser_that_has_it_is_told_so(gateway, index):
    again = gateway.http.get("/", headers={"if-none-match": index.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == index.headers["etag"]
    assert gateway.http.get("/", headers={"if-none-match": '"older"'}).status_code == 200


def test_it_goes_compressed_to_those_who_take_that(gateway, index):
    with gateway.http.stream("GET", "/", headers={"accept-encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == index.content
    plain = gateway.http.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == index.content


def test_a_head_says_the_same_without_the_page(gateway, index):
    answer = gateway.http.head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == index.headers["etag"]


@pytest.mark.parametrize("address", ["/assets/../sources.json", "/assets/none.js", "/sources.json", "/assets/"])
def test_nothing_else_can_be_read(gateway, address):
    assert gateway.http.get(address).status_code == 404


def test_the_page_needs_no_key_and_the_api_behind_it_does(serve, tmp_path):
    from tritone_gateway.door.keys import KeyFile

    KeyFile(tmp_path / "keys.json").add("ann", None)
    closed = serve(keys=tmp_path / "keys.json")
    assert all(closed.http.get(address).status_code == 200 for address in ("/", *assets_of(closed.http.get("/"))))
    assert closed.http.get("/v1/models").status_code == 401
    assert closed.http.get("/assets/none.js").status_code == 401
    assert closed.http.post("/").status_code in {401, 405}


def test_it_can_be_left_out(serve, index):
    without = serve(page=False)
    assert without.http.get("/").status_code == 404
    assert without.http.get(assets_of(index)[0]).status_code == 404
    assert without.http.get("/v1/models").status_code == 200
