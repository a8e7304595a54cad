"""How the processes of one server know of each other, apart from Triton's queues.

Each model's process (a "stub") keeps one file in a folder that all of them share: its pulse. A thread of its own
writes it twice a second, whatever the model is busy with, so that `tritone serve` can tell busy from hung and ill from
well, and a pipeline notices that the model it waits for is gone. The process holds a lock on its file as long as it
lives: the kernel takes the lock away from a dead process, so a lock that can be had is a death certificate.

The folder is `$TRITONE_PULSE`, which `tritone serve` sets; under a bare tritonserver it is one that all stubs of that
server find by its process id. It also holds a token that only processes of this server can read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import secrets
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

BEAT_S = 0.5
LISTED_S = 0.25
DRAINING = "draining"  # the file whose existence tells all doors to refuse new requests: the server is stopping
TOKEN = "token"  # noqa: S105  # the file's name
FACTS = ".facts"  # behind the name of a pulse: the file in which that process says what its model offers
ENSEMBLES = "ensembles"  # the file in which `tritone serve` says which steps each ensemble has
FOLDER = "TRITONE_PULSE"
MARKS = "TRITONE_MARKS"  # names the request parameters by which Triton's front ends mark what is no `generate` request
DEVICE_FAILED = 70  # exit code, EX_SOFTWARE of sysexits.h

# Each field but the last is eight aligned bytes, which processors read and write whole.
_LAYOUT = struct.Struct("=dqqddqddqdq256s")
_FIELDS = (
    *("beat", "progress", "in_flight", "executing_since", "last_success", "seen", "pace"),
    *("load", "places", "probed", "failed", "ill"),
)
_OFFSETS = {name: 8 * place for place, name in enumerate(_FIELDS)}
_INTEGERS = frozenset({"progress", "in_flight", "seen", "places", "failed"})


@dataclass(frozen=True)
class Pulse:
    """What a process says of itself. Times are `time.monotonic()`; 0.0 is never."""

    model: str
    pid: int
    alive: bool
    beat: float
    progress: int  # rows, steps, tokens and requests finished: moves while the process works
    in_flight: int  # requests accepted and not answered
    executing_since: float  # when the present `execute` began; 0.0 when none runs
    last_success: float
    seen: int  # the latest ticket of a door that has reached this model, see `tritone.serving.admission`
    pace: float  # rows a second while it works; 0.0 if not known
    load: float  # work that its door has inside, in the door's unit; inf where it lets nobody in
    places: int  # requests that it serves at once without anybody's waiting; 0 if not known
    probed: float  # when a deep canary's row was last computed, well or not
    failed: int  # such rows that have failed since anything went well
    ill: str  # why this process must be replaced at once; "" while it is well


def folder() -> Path:
    """Where the pulses of this server are, made if need be, for its owner alone."""
    return _made(
        Path(os.environ.get(FOLDER) or Path(tempfile.gettempdir()) / f"tritone-pulse-{os.getuid()}-{os.getppid()}")
    )


@cache
def _made(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    return path


@cache
def token(where: Path) -> str:
    """The secret of the server whose pulses are in the folder; made by whoever asks first."""
    file = where / TOKEN
    draft = where / f".{TOKEN}.{os.getpid()}.{threading.get_ident()}"
    if not file.exists():
        draft.write_text(secrets.token_hex(32), encoding="ascii")
        draft.chmod(0o600)
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)  # whole or not at all, and only once
        draft.unlink()
    return file.read_text(encoding="ascii")


def read(where: Path, model: str = "*") -> list[Pulse]:
    """The pulses in a folder, or those of one model; those of dead processes too."""
    return [pulse for file in _files(where, model) if (pulse := _read(file))]


def processes(where: Path, model: str) -> frozenset[str]:
    """The pulses of the model's processes that live; of its dead ones if none does."""
    names = frozenset(file.name for file in _files(where, model))
    return frozenset(name for name in names if not is_dead(where, name)) or names


def facts(where: Path) -> dict[str, dict[str, Any]]:
    """What the models of living processes say that they offer, by the model's name; see `Heart.tell`.

    An ensemble has no process: it is there, and offers nothing of its own, while all its steps are.
    """
    told: dict[str, dict[str, Any]] = {}
    for file in _files(where, "*"):
        said = file.with_name(file.name + FACTS)
        # Not told, or just removed.
        with contextlib.suppress(FileNotFoundError):
            if not is_dead(where, file.name):
                told.setdefault(_model_of(file.name), json.loads(said.read_text("utf-8")))
    with contextlib.suppress(FileNotFoundError):  # a bare tritonserver has none
        ensembles = json.loads((where / ENSEMBLES).read_text("utf-8"))
        told |= {name: {} for name, steps in ensembles.items() if told.keys() >= set(steps)}
    return told


def tell_ensembles(where: Path, steps: Mapping[str, Sequence[str]]) -> None:
    """Say which ensembles are served, and the models that each needs; before any model asks."""
    (where / ENSEMBLES).write_text(json.dumps({name: list(needed) for name, needed in steps.items()}), "utf-8")


def is_dead(where: Path, name: str) -> bool:
    """Whether the process of that pulse has ended, a zombie included."""
    try:
        with (where / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_dead(where: Path) -> None:
    """Remove the files of processes that have ended, with what else bears the name of their pulse."""
    for file in where.glob("*.pulse"):
        if is_dead(where, file.name):
            for left in where.glob(f"{file.name}*"):
                left.unlink(missing_ok=True)


def _files(where: Path, model: str) -> list[Path]:
    return sorted(where.glob(f"{model}[.#]*.pulse"))


def _read(file: Path) -> Pulse | None:
    try:
        page = file.read_bytes()
        return _pulse(file.name, not is_dead(file.parent, file.name), page)
    except (OSError, struct.error):  # just removed, or not written yet
        return None


def _pulse(name: str, alive: bool, page: bytes) -> Pulse:
    _, pid, _ = name.rsplit(".", 2)
    *numbers, ill = _LAYOUT.unpack_from(page)
    said = ill.rstrip(b"\0").decode("utf-8", "replace")
    return Pulse(_model_of(name), int(pid), alive, *numbers, said)  # type: ignore[call-arg]


def _model_of(name: str) -> str:
    return name.rsplit(".", 2)[0].partition("#")[0]


class Pages:
    """The pulses of one model's living processes, for whoever looks at every request: their pages stay mapped."""

    def __init__(self, where: Path, model: str, but: str = "") -> None:
        """`but`: the pulse of a process that is left out: its own, for one that looks at its fellows."""
        self._where, self._model, self._but = where, model, but
        self._pages: list[tuple[str, mmap.mmap]] = []
        self._listed = -LISTED_S

    def read(self) -> list[Pulse]:
        """As they are now; who lives is looked up every LISTED_S."""
        if time.monotonic() - self._listed > LISTED_S:
            self._pages = list(self._open())
            self._listed = time.monotonic()
        return [_pulse(name, True, page[:]) for name, page in self._pages]

    def _open(self) -> Iterator[tuple[str, mmap.mmap]]:
        for file in _files(self._where, self._model):
            if file.name == self._but:
                continue
            # Gone meanwhile, or not written yet.
            with contextlib.suppress(OSError, ValueError), file.open("rb") as opened:
                page = mmap.mmap(opened.fileno(), _LAYOUT.size, access=mmap.ACCESS_READ)
                if not is_dead(self._where, file.name):
                    yield file.name, page


class Heart:
    """The writing side: this process's own pulse.

    `faults` are asked with every beat; each says what is wrong ("" while nothing is). The first fault makes the process
    ill for good: `tritone serve` replaces it.
    """

    _count = 0

    def __init__(self, model: str, where: Path | None = None) -> None:
        self.where = where or folder()
        self.draining = False
        self.faults: list[Callable[[], str]] = []
        self._lock = threading.Lock()
        Heart._count += 1
        # One process has one model, but in tests many.
        self.name = f"{model}{'' if Heart._count == 1 else f'#{Heart._count}'}.{os.getpid()}.pulse"
        self._file = (self.where / self.name).open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(bytes(_LAYOUT.size))
        self._file.flush()
        self._page = mmap.mmap(self._file.fileno(), _LAYOUT.size)
        self._values: dict[str, float] = dict.fromkeys(_OFFSETS, 0)
        self.set("beat", time.monotonic())
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def set(self, field: str, value: float) -> None:
        """Write a field of `Pulse`."""
        self._values[field] = value
        struct.pack_into("=q" if field in _INTEGERS else "=d", self._page, _OFFSETS[field], value)

    def get(self, field: str) -> float:
        """A field as it was last set."""
        return self._values[field]

    def progressed(self, count: int = 1) -> None:
        """Something was finished: a row, a step, a token."""
        with self._lock:
            self.set("progress", int(self._values["progress"]) + count)

    def succeeded(self, count: int = 1) -> None:
        """Requests were answered as they wished."""
        self.progressed(count)
        self.set("last_success", time.monotonic())
        self.set("failed", 0)

    def probed(self, well: bool) -> None:
        """A row of a deep canary was computed, or has failed."""
        self.set("failed", 0 if well else int(self._values["failed"]) + 1)
        self.set("probed", time.monotonic())

    @contextlib.contextmanager
    def executing(self) -> Iterator[None]:
        """While `execute` runs on Triton's thread."""
        self.set("executing_since", time.monotonic())
        try:
            yield
        finally:
            self.set("executing_since", 0.0)

    def tell(self, facts: dict[str, Any]) -> None:
        """Say what this process's model offers, in JSON's values, instead of what it said before: see `facts`."""
        draft = self.where / f".{self.name}{FACTS}"
        draft.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        draft.replace(self.where / f"{self.name}{FACTS}")  # whole or not at all

    def fail(self, reason: str) -> None:
        """This process is ill for good."""
        if not self._page[_OFFSETS["ill"]]:
            struct.pack_into("256s", self._page, _OFFSETS["ill"], reason.encode()[:255])

    @property
    def ill(self) -> str:
        """Why this process must be replaced; "" while it is well."""
        return self._page[_OFFSETS["ill"] :].rstrip(b"\0").decode("utf-8", "replace")

    def end_process(self, reason: str, after_s: float = 1.0) -> None:
        """Be ill, and end this process once those who wait have their answers: its device or threads can't be mended.

        Whoever watches the server then starts a new one.
        """
        self.fail(reason)
        timer = threading.Timer(after_s, os._exit, [DEVICE_FAILED])
        timer.daemon = True
        timer.start()

    def _beat(self) -> None:
        """Write that the process lives and, if so, what is wrong. An exception here stops the pulse, which is seen."""
        while True:
            self.set("beat", time.monotonic())
            self.draining = (self.where / DRAINING).exists()
            for fault in self.faults:
                if reason := fault():
                    self.fail(reason)
            time.sleep(BEAT_S)
