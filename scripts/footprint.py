"""What a server costs before anybody asks it anything: seconds until its models are loaded, and memory.

python scripts/footprint.py
python scripts/footprint.py --models transcribe --json

A page of memory that several processes share counts for each of them by its part (Pss of proc(5)), so that the sum is
what the machine gives. `private` is what would come back if the process ended.
"""

import json
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from tritone.server.background import model_of, serve

LOADED = re.compile(r"loaded (?P<model>\S+) \(\d+ of \d+, (?P<seconds>[\d.]+) s\)")
KILOBYTE, MEGABYTE = 2**10, 2**20
SETTLE_S = 3.0  # until warm-up's garbage is gone


@dataclass
class Row:
    """What one model takes, or one of the two processes that serve them all."""

    name: str
    loaded_s: float | None  # from the start of the server; None for what is no Python model
    processes: int = 0
    proportional_mb: float = 0.0
    private_mb: float = 0.0
    torch: bool = False  # whether it has loaded torch

    def add(self, process: psutil.Process) -> None:
        """Count a process in."""
        pages = _rollup(process.pid)
        self.processes += 1
        self.proportional_mb += pages["Pss"] / MEGABYTE
        self.private_mb += (pages["Private_Clean"] + pages["Private_Dirty"]) / MEGABYTE
        self.torch |= "libtorch_cpu" in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")


def main(
    models: Annotated[str, typer.Option(help="Models to load, comma-separated, with all they need.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON in the place of the table.")] = False,
) -> None:
    """Start a server, wait until it is ready, and print what each of its processes has taken."""
    said: list[str] = []
    started = time.monotonic()
    with serve("--device", "cpu", *(["--models", models] if models else []), report=said.append) as address:
        ready_s = time.monotonic() - started
        time.sleep(SETTLE_S)
        rows = measure(psutil.Process(address.process.pid), said)
    if as_json:
        print(json.dumps({"ready_s": round(ready_s, 1), "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        Console(highlight=False).print(table(ready_s, rows))


def measure(serving: psutil.Process, said: Iterable[str]) -> list[Row]:
    """A row for each model that `tritone serve` said is loaded, the largest first, and those of the server itself."""
    found = [match for line in said if (match := LOADED.search(line))]
    rows = {match["model"]: Row(match["model"], float(match["seconds"])) for match in found}
    for process in [serving, *serving.children(recursive=True)]:
        name = model_of(process) or process.name()
        rows.setdefault(name, Row(name, None)).add(process)
    return sorted(rows.values(), key=lambda row: -row.proportional_mb)


def table(ready_s: float, rows: list[Row]) -> Table:
    """The rows and their sum, for people."""
    shown = Table(box=box.SIMPLE, title=f"ready after {ready_s:.1f} s")
    for name in ("model", "loaded after s", "processes", "proportional MB", "private MB", "torch"):
        shown.add_column(name, justify="left" if name == "model" else "right")
    for row in [*rows, _sum(rows)]:
        seconds = "" if row.loaded_s is None else f"{row.loaded_s:.1f}"
        memory = f"{row.proportional_mb:.0f}", f"{row.private_mb:.0f}"
        shown.add_row(row.name, seconds, str(row.processes), *memory, "yes" if row.torch else "")
    return shown


def _sum(rows: list[Row]) -> Row:
    total = Row("all", None)
    for row in rows:
        total.processes += row.processes
        total.proportional_mb += row.proportional_mb
        total.private_mb += row.private_mb
    return total


def _rollup(pid: int) -> dict[str, int]:
    """The fields of smaps_rollup, proc(5), in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]
    return {name: int(amount.split()[0]) * KILOBYTE for name, amount in (line.split(":") for line in lines)}


if __name__ == "__main__":
    typer.run(main)
