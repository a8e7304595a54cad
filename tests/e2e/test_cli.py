"""The command `tritone` as a process against the real server: what is asked, said, heard, drawn and found is right."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path
from random import Random

import pytest
from e2e.test_assistant import words
from e2e.test_llava_engine import ENDLESS, idle, metrics, wait_for
from PIL import Image

from tritone.vision.shapes import COLOURS, SHAPES, article, draw_scene, render

pytestmark = pytest.mark.e2e
README = Path(__file__).parents[2] / "client/README.md"
COMMAND = [sys.executable, "-m", "tritone_client.cli"]
CAPTIONS = [f"{article(colour)} {colour} {shape}" for colour in COLOURS for shape in SHAPES]
SENTENCE = "The circle is red."


@pytest.fixture(scope="module")
def folder(client, tmp_path_factory):
    """What the README's examples speak of, and a `tritone` that is this one."""
    folder = tmp_path_factory.mktemp("图片")
    (folder / "holiday").mkdir()
    for number, pair in enumerate([("red", "circle"), ("blue", "star"), ("green", "square")]):
        picture = render(draw_scene(Random(number), pairs=[pair]), 200)
        picture.save(folder / "holiday" / f"{pair[0]}.png")
    shutil.copy(folder / "holiday/red.png", folder / "picture.png")
    client.speak("What color is the circle?").save(folder / "question.wav")
    client.speak(SENTENCE).save(folder / "lecture.wav")
    (folder / "bin").mkdir()
    shim = folder / "bin/tritone"
    shim.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    shim.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def shell(server, folder):
    """shell(line): what bash has of it, run in the folder."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "TRITONE_SERVER": server.grpc}

    def run(line):
        command = ["bash", "-o", "pipefail", "-c", line]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")

    return run


def best_caption(client, picture):
    return client.rank(picture, CAPTIONS)[0].candidate


def test_every_example_of_the_readme_does_what_it_says(client, folder, shell):
    [block] = re.findall(r"^## Command line\n.*?^```sh\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    runs = {line: shell(line) for line in block.splitlines()}
    assert {line: run.stderr for line, run in runs.items() if run.returncode} == {}
    ask, chinese, say, heard, listen, align, talk, draw, search, models = (run.stdout for run in runs.values())
    assert words(ask) == words(SENTENCE)
    assert chinese == "有一个图形。\n"
    assert say == ""
    assert words(client.transcribe(folder / "answer.wav").text) == words(heard) == words(SENTENCE)
    assert listen == ""
    srt = (folder / "lecture.srt").read_text("utf-8").splitlines()
    assert srt[0] == "1"
    assert " --> " in srt[1]
    assert words(srt[2]) == words(SENTENCE)
    assert [line.split("\t")[2] for line in align.splitlines()] == SENTENCE.split()
    assert words(talk) == words(SENTENCE)
    assert words(client.transcribe(folder / "reply.wav").text) == words(SENTENCE)
    assert draw == ""
    assert best_caption(client, folder / "circle.png") == "a red circle"
    assert search.splitlines()[0].endswith("holiday/red.png")
    assert all(line.endswith("\tready") for line in models.splitlines())
    assert len(models.splitlines()) == 9


def test_json_for_another_program(shell):
    run = shell("tritone ask 'What color is the circle?' - --json < picture.png")
    answer = json.loads(run.stdout)
    assert words(answer["text"]) == words(SENTENCE)
    assert answer["finish_reason"] == "stop"


def test_the_servers_refusals_are_exit_codes(shell):
    run = shell("tritone ask 'Describe it.' picture.png --max-tokens 100000")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "tritone: max_tokens is 100000, must be 1 to 512\n"
    run = shell("tritone models no_such_model")
    assert (run.returncode, run.stdout) == (3, "no_such_model\tno_such_model\tnot ready\n")


def test_ctrl_c_frees_the_slot_of_an_endless_answer(server):
    wait_for(lambda: idle(server))
    before = metrics(server)["cancelled_total"]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in ENDLESS.items()]
    process = subprocess.Popen(
        [*COMMAND, "ask", "Tell me a story.", *options, "--server", server.grpc], stdout=subprocess.PIPE
    )
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    wait_for(lambda: metrics(server)["cancelled_total"] == before + 1)
    wait_for(lambda: idle(server))


def test_a_person_at_a_terminal_sees_progress_and_the_picture(server, client, folder):
    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    out = folder / "圆.png"
    arguments = ["draw", "一个红色的圆形", "-o", out, "--steps", "30", "--seed", "0", "--server", server.grpc]
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b"".join(iter(lambda: read(terminal), b"")).decode()
    os.close(terminal)
    assert process.wait(60) == 0
    assert re.search(r"drawing.*%", seen)
    assert "▄" in seen or "▀" in seen  # the picture, two pixels a character
    assert best_caption(client, out) == "a red circle"
    assert Image.open(io.BytesIO(out.read_bytes())).format == "PNG"


def read(terminal):
    """What comes next on a pseudo-terminal; nothing once the process has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
