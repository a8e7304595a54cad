"""The running tritonserver: its process, its log, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tritone.control import DEAD
from tritone.repository import CannotStart

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where POSIX puts the regions of the Python backend
PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE_S = 2.0  # beyond the server's own exit time-out

_LOADED = re.compile(r"successfully loaded '([^']+)'")
# The server's words for a model that fails, most telling first.
_FAILURES = (
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?P<cause>.+?)\"?$", re.MULTILINE),
    re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<cause>.+?)\"?$", re.MULTILINE),
    re.compile(r"load failed for model '(?P<model>[^']+)': (?P<cause>.+)$", re.MULTILINE),
    re.compile(r"(?P<cause>ensemble (?P<model>\S+) contains models that .+?)\"?$", re.MULTILINE),
)
_ERROR = re.compile(r"^error: (.+)$", re.MULTILINE)


class ServerProcess:
    """A tritonserver, started as the leader of its own process group."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        region_prefix: str,
        exit_timeout_s: float,
    ) -> None:
        """Start the server.

        Args:
            log: gets all its output; overwritten, and readable by its owner only, as the key stands in the command.
            region_prefix: how the names of its shared memory regions start.
            exit_timeout_s: what the server itself was told to wait for requests when it stops.
        """
        self.log = log
        self._region_prefix = region_prefix
        self._exit_timeout_s = exit_timeout_s
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        libc = ctypes.CDLL(None)
        with open(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, not for the server and its stubs
                preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # if we are killed, so is it
            )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def ending(self) -> str:
        """How it ended: "signal SIGKILL" or "exit code 1"."""
        code = self._process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def note(self, line: str) -> None:
        """Add a line of our own to the server's log."""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z tritone: {line}\n")

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self._text().splitlines()[-lines:])

    def loaded(self) -> set[str]:
        """Models that have been loaded."""
        return set(_LOADED.findall(self._text()))

    def check_loading(self) -> None:
        """Raise CannotStart if a model has failed to load, naming it and the cause, or if the server has ended."""
        ended = self.has_ended()  # before the log is read, so that nothing is missed
        failure = failed_model(self._text())
        if failure:
            raise CannotStart(f"model '{failure[0]}' failed to load: {failure[1]} (log: {self.log})")
        if ended:
            errors = _ERROR.findall(self._text())
            cause = errors[-1] if errors else self.log_tail(1)
            raise CannotStart(f"tritonserver ended with {self.ending()}: {cause} (log: {self.log})")

    def stop(self) -> None:
        """End the server and its stubs and remove their shared memory.

        The server waits for every connection, an idle one too, until its exit time-out; then it is killed.
        """
        if not self.has_ended():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._exit_timeout_s + GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # stubs included
        self._process.wait()
        for region in SHARED_MEMORY.glob(f"{self._region_prefix}*"):
            region.unlink(missing_ok=True)

    def _text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def failed_model(log: str) -> tuple[str, str] | None:
    """The first model that the server's log says failed to load, with the first line of the cause."""
    for pattern in _FAILURES:
        if match := pattern.search(log):
            # Triton writes a traceback with escaped line ends into one line.
            cause = match["cause"].split("\\n")[0].replace('\\"', '"')
            if DEAD in cause:
                cause = "its process died while loading, perhaps for want of memory"
            return match["model"], cause.removeprefix("Internal: ")
    return None
