"""The page that is served is that of the sources beside it, whether or not Node is there."""

import hashlib
import json
import re
import tomllib
from pathlib import Path

from contract.repositories import ROOT

SOURCES, BUILT = ROOT / "gateway/page", ROOT / "gateway/src/tritone_gateway/page"
MOST_BYTES = 130_000  # of all that is served, before it is compressed
MOST_LINES = 300


def hashes(root: Path, files: list[Path]) -> dict[str, str]:
    return {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def sources() -> list[Path]:
    beside = [file for file in SOURCES.iterdir() if file.is_file() and file.suffix != ".md"]
    return beside + [file for file in (SOURCES / "src").rglob("*") if file.is_file()]


def built() -> list[Path]:
    return [file for file in BUILT.rglob("*") if file.is_file() and file.name != "sources.json"]


def test_what_is_served_was_built_from_these_sources():
    told = json.loads((BUILT / "sources.json").read_text("utf-8"))
    assert told["sources"] == hashes(SOURCES, sources()), "run: cd gateway/page && npm ci && npm run build"
    assert told["built"] == hashes(BUILT, built())


def test_the_lock_has_everything_that_it_names():
    """Otherwise `npm ci` refuses; what an installation leaves out because a registry has it not is easily missed."""
    packages = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))["packages"]
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    named = {name for package in packages.values() for kind in kinds for name in package.get(kind, ())}
    assert named <= {place.rpartition("node_modules/")[2] for place in packages}


def test_the_page_is_small_and_asks_nobody_else():
    texts = {file.name: file.read_text("utf-8") for file in built()}
    assert sum(len(text.encode()) for text in texts.values()) < MOST_BYTES
    named = {url for text in texts.values() for url in re.findall(r"https?://[\w.-]+", text)}
    assert named <= {"http://www.w3.org"}  # names SVG; nothing is fetched there


def test_no_source_of_the_page_is_long():
    long = [
        file.name
        for file in sources()
        if file.suffix in {".ts", ".css"} and len(file.read_text("utf-8").splitlines()) > MOST_LINES
    ]
    assert long == []


def test_the_page_offers_the_styles_that_the_server_has():
    styles = tomllib.loads((ROOT / "src/tritone/drawing/styles.toml").read_text("utf-8"))["styles"]
    for language in ("en", "zh"):
        offered = re.findall(
            r"^  'style\.([^']+)'", (SOURCES / f"src/i18n/{language}.ts").read_text("utf-8"), re.MULTILINE
        )
        assert offered == list(styles)
