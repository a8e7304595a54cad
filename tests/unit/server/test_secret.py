"""A secret argument of a child is no longer to be read once it was hidden, and the child goes on as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tritone.server import secret

KEY = "0123456789abcdef" * 4
# Says that it has read its arguments, waits, and says what it had read.
CHILD = "import sys; kept = sys.argv[1:]; print('started', flush=True); sys.stdin.readline(); print(kept, flush=True)"


@pytest.fixture
def child():
    arguments = [f"--http-restricted-api=trace:key={KEY}", "--port=1", f"--grpc-restricted-protocol=trace:key={KEY}"]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        yield process
        process.kill()


def command_line(process) -> str:
    return Path(f"/proc/{process.pid}/cmdline").read_text(encoding="utf-8")


def test_the_secret_is_gone_from_the_command_line_and_everything_else_stays(child):
    before = command_line(child)
    assert before.count(KEY) == 2
    assert secret.hide_argument(child.pid, KEY)
    assert command_line(child) == before.replace(KEY, "*" * len(KEY))


def test_the_child_keeps_what_it_has_read(child):
    secret.hide_argument(child.pid, KEY)
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline().count(KEY) == 2


def test_a_process_that_ended_is_not_called_hidden(child):
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays as a zombie
    assert not secret.hide_argument(child.pid, KEY)
    child.wait()
    assert not secret.hide_argument(child.pid, KEY)


def test_where_memory_may_not_be_written_it_says_so(child, monkeypatch):
    monkeypatch.setattr(secret, "_arguments", lambda _: (0, 0x1000))  # what the kernel says without ptrace access is 0
    assert not secret.hide_argument(child.pid, KEY)
    assert command_line(child).count(KEY) == 2
