"""What README's first screen and client/examples show, run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from install_clients import install

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "client" / "examples"
PICTURE = ROOT / "docs" / "demo_picture.png"
ANSWER = "The circle is red."


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory):
    """A folder with OpenAI's package for JavaScript."""
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        (folder / name).write_bytes((ROOT / "tests" / "clients" / "npm" / name).read_bytes())
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=200)
    return folder


def run(*command, cwd, **env):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def is_said_and_drawn(folder, client):
    """Whether the answer was spoken and drawn into the folder."""
    [sound] = folder.glob("answer.[wm][ap][v3]")
    heard = re.sub(r"[^\w ]", "", client.transcribe(sound).text.lower())
    best = client.rank(folder / "answer.png", ["a red circle", "a blue square", "a green star"])[0]
    return heard == "the circle is red" and best.candidate == "a red circle"


def test_the_example_of_our_client(server, client, tmp_path):
    assert run(sys.executable, EXAMPLES / "ask_and_hear.py", PICTURE, server.grpc, cwd=tmp_path) == ANSWER
    assert is_said_and_drawn(tmp_path, client)


def test_the_example_of_openais_package(gateway_url, client, tmp_path):
    assert run(install("openai"), EXAMPLES / "openai_sdk.py", PICTURE, f"{gateway_url}/v1", cwd=tmp_path) == ANSWER
    assert is_said_and_drawn(tmp_path, client)


def test_the_example_of_openais_package_for_javascript(gateway_url, client, node_modules):
    (node_modules / "openai_sdk.mjs").write_bytes((EXAMPLES / "openai_sdk.mjs").read_bytes())
    assert run("node", "openai_sdk.mjs", PICTURE, f"{gateway_url}/v1", cwd=node_modules) == ANSWER
    assert is_said_and_drawn(node_modules, client)


def test_the_example_of_curl(gateway_url, client, tmp_path):
    assert run("sh", EXAMPLES / "curl.sh", PICTURE, f"{gateway_url}/v1", cwd=tmp_path) == ANSWER
    assert is_said_and_drawn(tmp_path, client)


def test_three_ways_in_stand_on_readmes_first_screen_and_lead_there(server, gateway_url, client, tmp_path):
    """Each is one line; only the addresses and the command's place are another's here."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = readme[: readme.index("This is what `make demo` prints")]
    [block] = re.findall(r"^```sh\n(tritone ask.*?)^```", first_screen, re.MULTILINE | re.DOTALL)
    lines = block.replace("127.0.0.1:8080", gateway_url.removeprefix("http://")).replace("localhost:8001", server.grpc)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "tritone").write_text(f'#!/bin/sh\nexec {sys.executable} -m tritone_client.cli "$@"\n')
    (tmp_path / "tritone").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    said = [run("sh", "-c", line, cwd=tmp_path, PATH=path, TRITONE_SERVER=server.grpc) for line in lines.splitlines()]
    assert len(said) == 3
    assert said[:2] == [ANSWER, ANSWER]
    heard = client.transcribe(tmp_path / "hello.mp3").text
    assert re.sub(r"[^\w ]", "", heard.lower()) == "the circle is red"
