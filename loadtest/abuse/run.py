"""`make abuse`: a server of its own for each kind of abuse, and a table of what it did. It ends by itself."""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from abuse import hostile, kill, leave, malformed, overload, report, stop
from abuse.bench import Bench
from abuse.catalogue import ROOT
from abuse.report import Report
from abuse.requests import NotPrepared, prepare
from tritone.server.background import Address, DidNotStart, serve


class Part(enum.StrEnum):
    """What can be done to a server."""

    OVERLOAD = "overload"
    MALFORMED = "malformed"
    HOSTILE = "hostile"
    LEAVE = "leave"
    KILL = "kill"
    STOP = "stop"


MEASURES: dict[Part, Callable[[Bench], Report]] = {
    Part.OVERLOAD: overload.measure,
    Part.MALFORMED: malformed.measure,
    Part.HOSTILE: hostile.measure,
    Part.LEAVE: leave.measure,
    Part.KILL: kill.measure,
    Part.STOP: stop.measure,
}
LOGS = ROOT / ".tritone"
console = report.console()


def main(
    only: Annotated[
        list[Part] | None, typer.Option(help="May be repeated. [default: all, one after the other]")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="These models only. May be repeated. [default: all]")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long each overload lasts.")] = 20.0,
    settle: Annotated[float, typer.Option(min=0, help="Seconds after which memory is looked at once more.")] = 30.0,
    requests: Annotated[int, typer.Option(min=2, help="Malformed requests for each model.")] = 500,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write everything into this file.")] = None,
    option: Annotated[list[str] | None, typer.Option(help="For `tritone serve`, such as --device=cpu.")] = None,
) -> None:
    """Abuse servers of this machine and say what they did; exit code 1 if anything happened that must not."""
    reports = {}
    for part in only or list(Part):
        console.rule(part.value)
        started, said = time.monotonic(), list[str]()
        try:
            with serve(*(option or ()), log_file=LOGS / f"abuse_{part.value}.log", report=said.append) as address:
                found = _measured(part, address, model or [], seconds, settle, requests)
        except (DidNotStart, NotPrepared) as error:
            found = Report(part.value, missed=[f"could not be measured: {error}; the server said last: {said[-1:]}"])
        found.show(console)
        console.print(f"[dim]{part.value}: {time.monotonic() - started:.0f} s[/]")
        reports[part.value] = found.as_json()
        if json_file:  # after each part, so that a run that is ended early leaves what it found
            json_file.write_text(json.dumps(reports, ensure_ascii=False, indent=1, default=str), encoding="utf-8")
    missed = sum(len(each["missed"]) for each in reports.values())
    console.print(f"make abuse: {'nothing missed' if not missed else f'{missed} sentences marked MISSED above'}")
    raise SystemExit(1 if missed else 0)


def _measured(part: Part, address: Address, models: list[str], seconds: float, settle: float, requests: int) -> Report:
    console.print("[dim]the server is ready; asking for what is right when it is alone[/]")
    bench = Bench(
        address, prepare(address.grpc), lambda line: console.print(f"[dim]{time.strftime('%H:%M:%S')} {line}[/]"),
        models, seconds, settle, requests,
    )  # fmt: skip
    return MEASURES[part](bench)
