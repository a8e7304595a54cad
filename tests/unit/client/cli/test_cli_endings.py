"""How a run of `tritone` ends: exit codes, sentences with the next step, Ctrl-C, pipes, locales, and a terminal.

The command runs as a process of its own where that matters, against the server of `conftest`.
"""

import os
import pty
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tritone_client import (
    Cancelled,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)
from tritone_client.cli import app
from tritone_client.cli.session import Outside, Session

PATIENCE_S = 100  # a process takes a second to start, and many on a machine that is busy
COMMAND = [sys.executable, "-m", "tritone_client.cli"]
ERRORS = [
    (InvalidInput("max_tokens is 0, must be 1 to 512"), 2, "max_tokens is 0, must be 1 to 512"),
    (NotServed("speech is not served."), 1, "speech is not served: `tritone models` shows what is there"),
    (ModelNotReady("loading", model="llava"), 3, "loading: `tritone models --wait llava` waits for it"),
    (ModelNotReady("loading; try again in 2.5 s"), 3, "loading; try again in 2.5 s"),
    (Overloaded("full"), 4, "full: try again in a moment"),
    (RequestTimedOut("no answer within 3 s"), 1, "no answer within 3 s: give it more by --timeout"),
    (InferenceFailed("牛", request_id="a-1"), 1, "牛: the server's log says more, under the request a-1"),
    (Cancelled("the client is closed"), 1, "the client is closed"),
    (
        ServerUnavailable("no answer from gpu:1: Connection refused"),
        3,
        "nobody answers at gpu:1: start one with `make serve`, or name another by --server",
    ),
]


@pytest.mark.parametrize(("error", "code", "sentence"), ERRORS, ids=[type(error).__name__ for error, *_ in ERRORS])
def test_an_error_is_a_sentence_with_the_next_step_and_an_exit_code(tritone, error, code, sentence):
    def fail(request):
        raise error

    run = tritone(fail, "ask", "?", "--server", "gpu:1")
    assert (run.code, run.said, run.about) == (code, "", f"tritone: {sentence}\n")


def test_an_error_in_the_middle_leaves_what_has_come(tritone):
    def fail(request):
        yield {"text_output": "It is", "finish_reason": "", "prompt_tokens": 1, "completion_tokens": 1}
        raise InferenceFailed("broken", request_id="a-1")

    run = tritone(fail, "ask", "?")
    assert (run.code, run.said) == (1, "It is")


def test_a_wrong_command_line_is_exit_code_2(tritone):
    for arguments in (["sing"], ["ask", "?", "--louder"], ["draw", "a circle", "--count", "0"]):
        assert tritone(None, *arguments).code == 2


def test_ctrl_c_closes_the_client(tritone):
    def interrupt(request):
        raise KeyboardInterrupt

    run = tritone(interrupt, "ask", "?")
    assert (run.code, run.said) == (130, "")
    assert run.transport.closed


def test_server_and_time_out_are_the_clients(tritone, monkeypatch):
    def answer(request):
        return [{"text_output": "", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}]

    assert tritone(answer, "ask", "?").connected == [("localhost:8001", 300)]
    assert tritone(answer, "ask", "?", "--server", "gpu:1", "--timeout", 2.5).connected == [("gpu:1", 2.5)]
    monkeypatch.setenv("TRITONE_SERVER", "https://gpu:2")
    run = tritone(answer, "ask", "?")
    assert run.connected == [("https://gpu:2", 300)]
    assert run.requests[0].timeout_s == 300


def test_an_address_that_is_none():
    def connect(server, timeout_s):
        raise InvalidInput(f"url is {server!r}, must begin with grpc:// or http://")

    run = CliRunner().invoke(app, ["ask", "?", "--server", "ftp://gpu"], obj=Outside(connect))
    assert (run.exit_code, run.stderr) == (2, "tritone: url is 'ftp://gpu', must begin with grpc:// or http://\n")


def test_a_file_that_cannot_be_written(tritone, tmp_path):
    spoken = {"audio": [0.0], "sampling_rate": 4, "audio_wav": b"", "word": [], "word_start": [], "word_end": []}
    run = tritone(lambda _: spoken | {"voice": ""}, "say", "Hi.", "-o", tmp_path, "--format", "wav")
    assert (run.code, run.about) == (2, f"tritone: {tmp_path} is a folder: name a file in it\n")


def test_what_is_said_does_not_steer_the_terminal(capsys):
    run = Session(None, Outside(), "gpu:1", False)
    run.result("\x1b]0;红\x07色")
    run.note("\x1b[2J红色")
    assert capsys.readouterr() == ("]0;红\x07色\n", "[2J红色\n")


@pytest.fixture
def process(triton):
    """process(*arguments): `tritone` as a process that asks the server of this test."""
    started = []

    def start(*arguments, **streams):
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        started.append(subprocess.Popen([*COMMAND, *arguments, "--server", triton.url], **given))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def test_ctrl_c_cancels_the_request_on_the_server(triton, process):
    running = process("ask", "wait")
    assert running.stdout.read(4) == b"one "  # it comes at once, and then nothing
    assert triton.busy.wait(PATIENCE_S)
    running.send_signal(signal.SIGINT)
    said, about = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, said, about) == (130, b"", b"")
    assert triton.left.wait(PATIENCE_S)


def test_a_reader_who_leaves_ends_it_quietly_and_at_once(triton, process):
    running = process("ask", "wait")
    running.stdout.close()
    assert (running.wait(PATIENCE_S), running.stderr.read()) == (141, b"")


@pytest.mark.parametrize("wire", ["gRPC"], indirect=True)  # whose bytes are looked at
@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"}])
def test_chinese_goes_both_ways_whatever_the_locale(triton, process, locale):
    words = "INVALID_ARGUMENT: 图片太大".encode()
    running = process("ask", words, env=os.environ | locale)
    assert running.communicate(timeout=PATIENCE_S) == (b"one ", "tritone: 图片太大\n".encode())
    assert running.returncode == 2
    assert triton.requests[0].raw_input_contents[0][4:] == words


def read(terminal, wanted: bytes) -> bytes:
    """What a pseudo-terminal shows, up to the wanted bytes."""
    seen = b""
    while wanted not in seen:
        seen += os.read(terminal, 4096)
    return seen


def test_on_a_terminal_progress_appears_and_goes(triton, process):
    terminal, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color"}
    running = process("models", "--wait", "llava_answer", stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = read(terminal, b"waiting for llava_answer (0 of 1 are ready)")
    assert b"\x1b[?25l" in seen  # the cursor is hidden while it turns
    running.send_signal(signal.SIGINT)
    assert b"\x1b[?25h" in read(terminal, b"\x1b[?25h")
    assert running.wait(PATIENCE_S) == 130
    os.close(terminal)


def test_a_terminal_is_not_given_a_sound_file(triton, process):
    terminal, theirs = pty.openpty()
    running = process("say", "Hi.", "-o", "-", stdout=theirs)
    os.close(theirs)
    assert running.wait(PATIENCE_S) == 2
    assert running.stderr.read().startswith(b"tritone: standard output is a terminal")
    assert triton.requests == []
    os.close(terminal)


def test_a_pipe_gets_no_progress_even_where_colour_is_forced(triton, process):
    running = process("models", "llava", env=os.environ | {"FORCE_COLOR": "1"})
    assert running.communicate(timeout=PATIENCE_S) == (b"llava\tllava\tready\n", b"")
