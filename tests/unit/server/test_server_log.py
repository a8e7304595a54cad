"""What tritonserver prints: which model failed and why, where the lines are kept, and what a full disk does to them."""

import io
import os
from pathlib import Path

import pytest

from tritone.server import server_log
from tritone.server.repository import CannotStart

LOADING = """I1123 21:01:53.384018 4587 model_lifecycle.cc:472] "loading: broken:1"
{}
E1123 21:01:53.82731 4587 ensemble_scheduler.cc:1468] "unable to create stream for twice: CUDA driver version"
"""


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (
            "E1 4587 model_lifecycle.cc:642] \"failed to load 'broken' version 1: Internal: ModuleNotFoundError: "
            "No module named 'x'\\n\\nAt:\\n  /models/broken/1/model.py(7): initialize\\n\"",
            ("broken", "ModuleNotFoundError: No module named 'x'"),
        ),
        (
            "E1 1 model_repository_manager.cc:1460] \"Poll failed for model directory 'odd': unexpected kind\"",
            ("odd", "unexpected kind"),
        ),
        (
            "E1 2 lifecycle.cc:642] \"failed to load 'big' version 1: Internal: Stub process 'b' is not healthy.\"",
            ("big", "its process died while loading, perhaps for want of memory"),
        ),
        (
            "error: creating server: Invalid argument - load failed for model 'both': in ensemble both, no such tensor",
            ("both", "in ensemble both, no such tensor"),
        ),
        ("I1 4587 model_lifecycle.cc:839] \"successfully loaded 'broken'\"", None),
    ],
)
def test_the_log_tells_which_model_failed_and_why(line, failure):
    assert server_log.failed_model(LOADING.format(line)) == failure


def take(log, *lines):
    log.read(io.BytesIO("".join(f"{line}\n" for line in lines).encode()))


def test_the_log_of_the_run_before_is_kept_and_not_taken_for_this_one(tmp_path):
    path = tmp_path / "deep" / "server.log"
    path.parent.mkdir()
    path.write_text("I1 successfully loaded 'old'\n")
    log = server_log.to_file(path)
    take(log, "I1 successfully loaded 'new'")
    log.close()
    assert log.loaded() == {"new"}
    assert "'old'" in (tmp_path / "deep" / "server.previous.log").read_text()
    assert path.read_text() == "I1 successfully loaded 'new'\n"
    assert path.stat().st_mode & 0o077 == 0


def test_two_runs_in_one_folder_have_a_log_each(tmp_path):
    first = server_log.default(tmp_path, 8000)
    take(first, "of the first")
    second = server_log.default(tmp_path, 9000)
    take(second, "of the second")
    assert (first.name, second.name) == (str(tmp_path / "server.log"), str(tmp_path / "server-9000.log"))
    with pytest.raises(CannotStart, match=r"another tritone serve writes its log to .*server\.log: .*--log-file"):
        server_log.to_file(tmp_path / "server.log")
    first.close()
    second.close()
    assert (tmp_path / "server.log").read_text() == "of the first\n"


def test_a_log_that_cannot_be_written_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotStart, match=r"cannot be written .*--log-file, or - for the output"):
        server_log.to_file(tmp_path / "file" / "server.log")


def test_a_full_disk_hides_no_failure_and_ends_nothing():
    device = Path("/dev/full")  # every write to it is ENOSPC
    log = server_log.to_file(device)
    take(log, LOADING.format("E1 2 x.cc:642] \"failed to load 'big' version 1: Internal: no room\""), "the last line")
    log.note("ours")
    assert log.failure() == ("big", "no room")
    assert log.tail(2).splitlines()[0] == "the last line"
    log.close()
    assert device.is_char_device()


def test_a_log_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(server_log, "MOST_BYTES", 1000)
    log = server_log.to_file(tmp_path / "server.log")
    take(log, *(f"line {number} {'x' * 80}" for number in range(100)))
    log.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000
    assert "line 99" in (tmp_path / "server.log").read_text()


def test_the_output_can_be_the_log(capfd):
    log = server_log.to_stdout()
    take(log, "error: creating server: no such thing")
    assert capfd.readouterr().out == "error: creating server: no such thing\n"
    assert log.last_error() == "creating server: no such thing"


def test_a_line_without_end_is_taken_in_parts():
    kept = []
    log = server_log.ServerLog(kept.append, "here")
    log.read(io.BytesIO(os.urandom(10) + b"x" * (3 * server_log.LONGEST_LINE)))
    assert max(map(len, kept)) <= server_log.LONGEST_LINE
