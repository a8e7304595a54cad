"""`tritone gateway` as a child process on a free port, for the load tests and the end-to-end tests."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from tritone_gateway.cli import READY


@dataclass(frozen=True)
class Gateway:
    """A gateway that is ready."""

    url: str  # "http://127.0.0.1:8080"
    said: tuple[str, ...]  # its lines until then
    process: subprocess.Popen[str]


class DidNotStart(Exception):
    """It ended before it was ready; why stands on standard error, which is the caller's own."""


@contextlib.contextmanager
def serve(server: str, *options: str) -> Iterator[Gateway]:
    """Run `tritone gateway` before the server of this address while the context lasts.

    Raises: DidNotStart.
    """
    command = [sys.executable, "-m", "tritone_gateway", "--port=0", f"--server={server}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:  # noqa: S603
        try:
            yield _ready(process)
        finally:
            process.terminate()


def _ready(process: subprocess.Popen[str]) -> Gateway:
    said: list[str] = []
    for line in process.stdout or ():
        said.append(line.rstrip())
        if said[-1].startswith(f"{READY}: "):
            return Gateway(said[-1].split()[1].removesuffix("/v1"), tuple(said), process)
    raise DidNotStart(f"tritone gateway ended with exit code {process.wait()}")
