"""The server as the operating system and its own pages show it: processes, memory, processor time, counters."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from abuse.wire import get
from tritone.server.background import Address, model_of

SHARED_MEMORY = "/dev/shm/"  # noqa: S108  # read only
MB = 1e6
SAMPLE_S = 0.2
IDLE_SHARE = 0.12  # of one processor: canaries and pages of metrics need less
IDLE_FOR_S = 1.5


@dataclass(frozen=True)
class Memory:
    """MB of the server's process tree: its own memory (RssAnon, so nothing is counted twice), and its /dev/shm."""

    own: float
    shared: float

    def __str__(self) -> str:
        return f"{self.own:,.0f} + {self.shared:,.0f}"


def tree(address: Address) -> list[psutil.Process]:
    """`tritone serve`, tritonserver and all stubs."""
    try:
        serve = psutil.Process(address.process.pid)
        return [serve, *serve.children(recursive=True)]
    except psutil.Error:
        return []


def stubs(address: Address, model: str) -> list[psutil.Process]:
    """The model's stub processes."""
    return [process for process in tree(address) if model_of(process) == model]


def command_line(process: psutil.Process) -> list[str]:
    """The words that started a process; none if it is gone."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def own_memory(processes: Sequence[psutil.Process]) -> float:
    """MB that belong to these processes alone."""
    found = (re.search(r"RssAnon:\s+(\d+) kB", _file(process, "status")) for process in processes)
    return sum(int(match[1]) * 1024 for match in found if match) / MB


def by_model(address: Address, models: Sequence[str]) -> dict[str, float]:
    """MB that belong to each model's stubs alone, and to the server itself."""
    sizes = {model: own_memory(stubs(address, model)) for model in models}
    return sizes | {"tritonserver and tritone serve": own_memory(tree(address)) - sum(sizes.values())}


def grown(before: dict[str, float], after: dict[str, float], most: int = 5) -> str:
    """Who takes more memory than before, the most first."""
    more = sorted(((after[name] - size, name) for name, size in before.items()), reverse=True)
    return ", ".join(f"{name} {size:+,.0f}" for size, name in more[:most])


def regions(address: Address) -> set[Path]:
    """The files in /dev/shm that the server's processes have mapped."""
    pattern = re.compile(rf"\s({re.escape(SHARED_MEMORY)}\S+)$", re.MULTILINE)
    return {Path(name) for process in tree(address) for name in pattern.findall(_file(process, "maps"))}


def memory(address: Address) -> Memory:
    """What the server takes now."""
    return Memory(own_memory(tree(address)), sum(_size(path) for path in regions(address)) / MB)


def _size(path: Path) -> int:
    try:
        return 512 * path.stat().st_blocks
    except OSError:
        return 0


def _file(process: psutil.Process, name: str) -> str:
    try:
        return Path(f"/proc/{process.pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass
class Peak:
    """The most that was seen, MB, and how often the models were restarted meanwhile."""

    memory: float = 0.0
    before: Memory = field(default_factory=lambda: Memory(0, 0))
    after: Memory = field(default_factory=lambda: Memory(0, 0))
    restarts: float = 0.0


@contextmanager
def peak(address: Address, guard: Callable[[float], None] = lambda free_mb: None) -> Iterator[Peak]:
    """Watch memory while the context lasts; `guard` hears how much the machine has left, MB, several times a second."""
    found, done, restarted = Peak(before=memory(address)), threading.Event(), restarts(address)
    found.memory = found.before.own

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            found.memory = max(found.memory, own_memory(tree(address)))
            guard(psutil.virtual_memory().available / MB)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found.after = memory(address)
        found.restarts = restarts(address) - restarted


def processor_s(processes: Sequence[psutil.Process]) -> float:
    """Processor seconds that these processes have used."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def wait_until_idle(address: Address, models: Sequence[str] = (), limit_s: float = 90.0) -> float:
    """Wait until the models' stubs, or all processes, rest; returns for how many seconds they did not."""

    def used() -> float:
        watched = [process for model in models for process in stubs(address, model)] if models else tree(address)
        return processor_s(watched)

    started = busy_until = time.monotonic()
    last = used()
    while (now := time.monotonic()) < started + limit_s and now - busy_until < IDLE_FOR_S:
        time.sleep(0.25)
        this = used()
        if this - last > IDLE_SHARE * (time.monotonic() - now):
            busy_until = time.monotonic()
        last = this
    return busy_until - started


def is_ready(address: Address) -> bool:
    """Whether the server calls itself ready: by the watchdog's own page if it has one, otherwise by Triton's."""
    status, _ = get(address.watchdog, "/ready", 2.0)
    if status in (200, 503):
        return status == 200
    return get(address.http, "/v2/health/ready", 2.0)[0] == 200


def metric(page: str, name: str, labels: str = "") -> float:
    """The sum of a metric's values on a page, of those lines whose labels hold `labels`."""
    pattern = rf"^{re.escape(name)}(?:\{{([^}}]*)\}})? (\S+)$"
    return sum(float(value) for found, value in re.findall(pattern, page, re.MULTILINE) if labels in found)


def restarts(address: Address) -> float:
    """How often the watchdog has reloaded a model."""
    return metric(get(address.watchdog, "/metrics")[1], "tritone_stub_restarts_total")


def engine(address: Address, name: str) -> float:
    """A number of LLaVA's engine: "tokens_total", "cancelled_total", …"""
    return metric(get(address.metrics, "/metrics")[1], f"tritone_llava_{name}", 'model="llava"')


def executions(address: Address, model: str) -> int:
    """How often the model's network ran."""
    status, body = get(address.http, f"/v2/models/{model}/stats")
    return int(json.loads(body)["model_stats"][0]["execution_count"]) if status == 200 else -1
