"""Takes a secret out of what other users see of a process: its command line.

tritonserver takes the key of its closed APIs as an argument only (no file, no environment variable, 2.51 to 2.75), and
any user of the machine may read `/proc/PID/cmdline`. The kernel reads those bytes from the process's own memory, so
its parent can overwrite them there once the process has read them.

What remains: until then, some 100 ms from its start, the key is to be read; and whoever may trace the process, the
same user's programs among them, can still find it in its memory.
"""

from __future__ import annotations

from pathlib import Path

COVER = b"*"
# Places in /proc/PID/stat, counted from the state, which follows the name in brackets (proc(5): fields 3, 48 and 49).
ARG_START, ARG_END = 48 - 3, 49 - 3


def hide_argument(pid: int, secret: str) -> bool:
    """Overwrite a secret in the command line of a child; True if `/proc/PID/cmdline` no longer shows it.

    Call it only when the child has read its arguments (its first line of log is a sign): earlier, the child itself
    would find stars in the secret's place. False, and nothing is changed, where a parent may not write its child's
    memory (no ptrace access: a seccomp filter, another user, a kernel without /proc/PID/mem) or the child ended.
    """
    process = Path("/proc") / str(pid)
    try:
        _overwrite(process, secret.encode())
        shown = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return bool(shown) and secret.encode() not in shown  # what has ended shows an empty command line


def _overwrite(process: Path, secret: bytes) -> None:
    """Put stars over every place of the secret between the first argument and the last; raises OSError."""
    start, end = _arguments(process)
    with (process / "mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        arguments = memory.read(end - start)
        place = arguments.find(secret)
        while place >= 0:
            memory.seek(start + place)
            memory.write(COVER * len(secret))
            place = arguments.find(secret, place + len(secret))


def _arguments(process: Path) -> tuple[int, int]:
    """Addresses of the arguments' first byte and of the byte after their last; zeros where we may not know them."""
    fields = (process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return int(fields[ARG_START]), int(fields[ARG_END])
