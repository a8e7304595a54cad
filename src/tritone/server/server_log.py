"""What tritonserver and its stubs print: where it is kept, and what can be read from it.

The lines come through a pipe, so that a log that cannot be written, or is thrown away, hides no failure to load.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Any

from tritone.server.control import DEAD
from tritone.server.repository import CannotStart

MOST_BYTES = 64 * 2**20  # of a log file; then it becomes server.log.1
LONGEST_LINE = 65536
TAIL_LINES = 200
MOST_ERRORS = 1000

_LOADED = re.compile(r"successfully loaded '([^']+)'")
# The server's words for a model that fails, most telling first.
_FAILURES = (
    re.compile(r"failed to load '(?P<model>[^']+)' version \d+: (?P<cause>.+?)\"?$", re.MULTILINE),
    re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<cause>.+?)\"?$", re.MULTILINE),
    re.compile(r"load failed for model '(?P<model>[^']+)': (?P<cause>.+)$", re.MULTILINE),
    re.compile(r"(?P<cause>ensemble (?P<model>\S+) contains models that .+?)\"?$", re.MULTILINE),
)
_ERROR = re.compile(r"^error: (.+)$", re.MULTILINE)


class ServerLog:
    """The lines of one run."""

    def __init__(self, write: Callable[[str], None], name: str, close: Callable[[], None] = lambda: None) -> None:
        """`write` keeps a line; `name` tells people where. Use `to_file` or `to_stdout`."""
        self.name = name
        self._write = write
        self._close = close
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._loaded: set[str] = set()
        self._errors: deque[str] = deque(maxlen=MOST_ERRORS)
        self._lock = threading.Lock()

    def read(self, pipe: IO[bytes]) -> None:
        """Take every line of the pipe until its end."""
        while line := pipe.readline(LONGEST_LINE):
            self.take(line.decode("utf-8", errors="replace").rstrip("\n"))

    def take(self, line: str) -> None:
        """Keep one line."""
        with self._lock:
            self._tail.append(line)
            self._loaded.update(_LOADED.findall(line))
            if any(pattern.search(line) for pattern in (*_FAILURES, _ERROR)):
                self._errors.append(line)
        with contextlib.suppress(OSError, ValueError):  # a full disk or a closed terminal: the server goes on
            self._write(line)

    def note(self, line: str) -> None:
        """Add a line of our own."""
        self.take(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z tritone: {line}")

    def tail(self, lines: int = 15) -> str:
        """The last lines."""
        with self._lock:
            return "\n".join(list(self._tail)[-lines:])

    def loaded(self) -> set[str]:
        """Models that have been loaded."""
        with self._lock:
            return set(self._loaded)

    def failure(self) -> tuple[str, str] | None:
        """The first model that failed to load, with the cause."""
        return failed_model(self._error_text())

    def last_error(self) -> str:
        """The server's own last words about why it ends, or else its last line."""
        errors = _ERROR.findall(self._error_text())
        return errors[-1] if errors else self.tail(1)

    def close(self) -> None:
        """Write what is left; later lines are dropped."""
        with contextlib.suppress(OSError, ValueError):
            self._close()

    def _error_text(self) -> str:
        with self._lock:
            return "\n".join(self._errors)


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


def to_stdout() -> ServerLog:
    """The log goes to this process's output, where a container's log is taken from."""

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    return ServerLog(write, "the output")


def to_file(path: Path) -> ServerLog:
    """The log goes to a file of at most MOST_BYTES; the one of the run before is kept as `server.previous.log`.

    Raises: CannotStart: the file cannot be written, or another run writes it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _keep_previous(path)
        handler = _LogFile(path, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8", errors="replace")
    except _InUse as error:
        raise CannotStart(f"another tritone serve writes its log to {path}: choose another by --log-file") from error
    except OSError as error:
        raise CannotStart(
            f"the log {path} cannot be written ({error.strerror}): choose another by --log-file, or - for the output"
        ) from error

    def write(line: str) -> None:
        handler.handle(logging.makeLogRecord({"msg": line}))

    return ServerLog(write, str(path), handler.close)


def default(folder: Path, port: int) -> ServerLog:
    """The log in a project's folder: server.log, or with the port in its name beside a run that writes that one.

    Raises: CannotStart: as `to_file`.
    """
    try:
        return to_file(folder / "server.log")
    except CannotStart as error:
        if not isinstance(error.__cause__, _InUse):
            raise
        return to_file(folder / f"server-{port}.log")


class _InUse(Exception):
    """Another process holds the lock on the file."""


class _LogFile(RotatingFileHandler):
    """A log file that only its owner can read, locked while it is written."""

    def _open(self) -> Any:
        stream = open(  # noqa: SIM115  # the handler closes it
            self.baseFilename,
            "a",
            encoding="utf-8",
            errors="replace",
            opener=lambda name, how: os.open(name, how, 0o600),
        )
        _lock(stream)
        return stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """A full disk must not stop the server: the line is lost."""


def _keep_previous(path: Path) -> None:
    if path.is_file():  # a device stays where it is
        with path.open("rb") as old:
            _lock(old)
        path.replace(path.with_suffix(f".previous{path.suffix}"))


def _lock(stream: IO[Any]) -> None:
    """Hold the file for this process; raises _InUse."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _InUse from None
