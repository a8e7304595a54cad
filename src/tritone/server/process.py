"""The running tritonserver: its process, the lines it prints, and an end that leaves nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tritone.server.repository import CannotStart
from tritone.server.server_log import ServerLog

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # where POSIX puts the regions of the Python backend
PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE_S = 1.0  # beyond the server's own exit time-out
READ_S = 2.0  # for the last lines of a server that has ended


class ServerProcess:
    """A tritonserver, started as the leader of its own process group."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: ServerLog,
        region_prefix: str,
        exit_timeout_s: float,
    ) -> None:
        """Start the server.

        Args:
            log: gets all its output.
            region_prefix: how the names of its shared memory regions start.
            exit_timeout_s: what the server itself was told to wait for requests when it stops.
        """
        self.log = log
        self._region_prefix = region_prefix
        self._exit_timeout_s = exit_timeout_s
        libc = ctypes.CDLL(None)
        self._process = subprocess.Popen(  # noqa: S603
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us, not for the server and its stubs
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),  # if we are killed, so is it
        )
        self._reader = threading.Thread(target=log.read, args=(self._process.stdout,), name="log", daemon=True)
        self._reader.start()

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
        self._reader.join(READ_S)  # stubs may hold the pipe a little longer
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def check_loading(self) -> None:
        """Raise CannotStart if a model has failed to load, naming it and the cause, or if the server has ended."""
        ended = self.ending() if self.has_ended() else ""  # before the log is read, so that nothing is missed
        if failure := self.log.failure():
            raise CannotStart(f"model '{failure[0]}' failed to load: {failure[1]} (log: {self.log.name})")
        if ended:
            raise CannotStart(f"tritonserver ended with {ended}: {self.log.last_error()} (log: {self.log.name})")

    def stop(self, *, at_once: bool = False) -> None:
        """End the server and its stubs and remove their shared memory.

        The server waits for every connection, an idle one too, until its exit time-out; then it is killed.
        """
        if not self.has_ended() and not at_once:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._exit_timeout_s + GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # stubs included
        self._process.wait()
        self._reader.join(READ_S)
        for region in SHARED_MEMORY.glob(f"{self._region_prefix}*"):
            region.unlink(missing_ok=True)
