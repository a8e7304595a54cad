"""What a run keeps outside its own memory, and what is removed after runs that were killed.

A run holds a lock on a file beside its things for as long as it lives. The kernel lets go of the lock when the process
dies, however it dies, and tells containers that share a folder apart, which process ids do not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tritone.server.process import SHARED_MEMORY
from tritone.server.repository import CannotStart

REGIONS = "tritone_"  # how the names of our shared memory regions start
FOLDERS = "tritone-"  # and those of our temporary folders
LOCK = "lock"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that is ours until the context ends or this process dies.

    Raises: CannotStart: no folder for temporary files can be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=FOLDERS))
        lock = _hold(folder / LOCK)
    except OSError as error:
        raise CannotStart(f"no folder for temporary files can be written ({error}): name one in $TMPDIR") from error
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def region_prefix(name: str) -> Iterator[str]:
    """How the names of shared memory regions may start that are ours until the context ends or this process dies.

    Raises: CannotStart: there is no shared memory that can be written.
    """
    prefix = f"{REGIONS}{os.getpid()}_{name}_"
    file = SHARED_MEMORY / f"{prefix}{LOCK}"
    try:
        lock = _hold(file)
    except OSError as error:
        raise CannotStart(f"{SHARED_MEMORY} cannot be written ({error.strerror}); models need it") from error
    with lock:
        try:
            yield prefix
        finally:
            file.unlink(missing_ok=True)


def remove(shared_memory: Path = SHARED_MEMORY, temporary: Path | None = None) -> int:
    """Remove the regions and folders of runs that are dead; returns how many runs that were."""
    dead = 0
    with contextlib.suppress(OSError):
        for file in shared_memory.glob(f"{REGIONS}*_{LOCK}"):
            if _is_free(file):
                dead += 1
                for region in shared_memory.glob(f"{file.name.removesuffix(LOCK)}*"):
                    region.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for folder in (temporary or Path(tempfile.gettempdir())).glob(f"{FOLDERS}*"):
            if _is_free(folder / LOCK):
                shutil.rmtree(folder, ignore_errors=True)
    return dead


def _hold(file: Path) -> IO[bytes]:
    """Create a locked file; it gets its name only when it is locked, so that nobody finds it free meanwhile."""
    unnamed = file.with_name(f".{file.name}.new")
    stream = unnamed.open("wb")
    fcntl.flock(stream, fcntl.LOCK_EX)
    unnamed.rename(file)
    return stream


def _is_free(file: Path) -> bool:
    """Whether the file is there and nobody holds it."""
    try:
        with file.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
