"""`tritone serve` as a child process on free ports, for the demo, the load tests and the end-to-end tests."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tritone.server.cli import READY

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """A server that is ready."""

    process: subprocess.Popen[str]
    http: str  # "127.0.0.1:8000"
    grpc: str
    metrics: str
    watchdog: str


def model_of(process: psutil.Process) -> str:
    """The model whose stub a process is: a stub's command line names its model.py; "" for any other process."""
    try:
        files = [Path(word) for word in process.cmdline()[1:] if word.endswith("/model.py")]
    except psutil.Error:
        return ""
    return files[0].parents[1].name if files else ""


class DidNotStart(Exception):
    """`tritone serve` refused or was not ready in time; the message is what it said."""


@contextlib.contextmanager
def serve(
    *options: str, timeout_s: float = 600.0, log_file: Path | None = None, report: Callable[[str], None] = print
) -> Iterator[Address]:
    """Run `tritone serve` with the options while the context lasts; `report` gets each line it says.

    Raises: DidNotStart: with the server's own words.
    """
    ports = dict(zip(("http", "grpc", "metrics", "watchdog-metrics"), free_ports(4), strict=True))
    arguments = [f"--{service}-port={port}" for service, port in ports.items()]
    if log_file:
        arguments.append(f"--log-file={log_file}")
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tritone.server", "serve", *arguments, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    try:
        _wait(process, timeout_s, report)
        yield Address(process, *(f"{HOST}:{port}" for port in ports.values()))
    finally:
        stop(process)


def stop(process: subprocess.Popen[str], timeout_s: float = 60.0) -> int:
    """Ask `tritone serve` to stop, kill it if it does not, and return its exit code.

    By itself it waits 30 s at most for requests in flight.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()  # takes the server along
        return process.wait()


def free_ports(count: int) -> list[int]:
    """Different ports of this machine on which nothing listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _wait(process: subprocess.Popen[str], timeout_s: float, report: Callable[[str], None]) -> None:
    """Return once the server says that it is ready."""
    ready, said = threading.Event(), list[str]()

    def read() -> None:
        for line in process.stdout or ():
            said.append(line.rstrip())
            report(said[-1])
            if line.startswith(f"{READY}:"):
                ready.set()
        ready.set()  # it has ended, or at least has nothing more to say

    threading.Thread(target=read, daemon=True).start()
    in_time = ready.wait(timeout_s)
    if not any(line.startswith(f"{READY}:") for line in said):
        late = "" if in_time else f" (not ready after {timeout_s:g} s)"
        raise DidNotStart("\n".join(said) + late)
