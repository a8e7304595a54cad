"""Is the GPU path right here, and how fast? Nine minutes on one card; each part stands by itself, most valuable first.

    python scripts/check_gpu.py                              everything; a table as it goes, and gpu_check.json
    python scripts/check_gpu.py --only llava --only whisper
    python scripts/check_gpu.py --dry                        the same code with small networks on a processor

Networks have the true shapes of LLaVA-1.5-7B, Stable Diffusion 1.5 and whisper-large-v3 and random weights: what they
say means nothing; whether it is the same alone and in a crowd, and as in transformers, does. Exit code 1 if something
that must be so is not. docs/gpu.md keeps what was measured.
"""

from __future__ import annotations

import enum
import importlib
import traceback
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from gpu.measuring import Card, Report


class Part(enum.StrEnum):
    """What is looked at, in order of value. Each is a module of `gpu` with a function `run`."""

    SERVER = "server"
    COPIES = "copies"
    LLAVA = "llava"
    GRAPHS = "graphs"
    DIFFUSION = "diffusion"
    WHISPER = "whisper"
    QUANTISED = "quantised"


def main(
    only: Annotated[list[Part] | None, typer.Option(help="May be repeated. [default: all]")] = None,
    dry: Annotated[
        bool, typer.Option(help="Small networks on this processor; the server only if it is named.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Every figure so far, as JSON.")] = Path("gpu_check.json"),
) -> None:
    """Check and measure, part by part."""
    console = Console()
    if not dry and not torch.cuda.is_available():
        console.print("check_gpu: torch sees no GPU here; --dry tries the same code on the processor")
        raise typer.Exit(2)
    card, report = (Card.dry() if dry else Card.first()), Report(out, console)
    name = "this processor, small networks" if dry else torch.cuda.get_device_name(0)
    report.add("card", name=name, torch=torch.__version__, cudnn=str(torch.backends.cudnn.version()))
    for part in only or [part for part in Part if not (dry and part is Part.SERVER)]:
        console.rule(part.value)
        _run(part, card, report)
    for sentence in report.missed:
        console.print(f"MISSED: {sentence}", style="red", soft_wrap=True)
    console.print(f"check_gpu: {len(report.missed)} of what must be so is not; all figures are in {out}")
    raise typer.Exit(1 if report.missed else 0)


def _run(part: Part, card: Card, report: Report) -> None:
    """A part that fails is told and keeps no other from being run."""
    try:
        importlib.import_module(f"gpu.{part.value}").run(card, report)
    except Exception as error:
        traceback.print_exc()
        report.must(part.value, f"runs at all ({type(error).__name__}: {str(error)[:300]})", False)
    finally:
        card.forget()


if __name__ == "__main__":
    typer.run(main)
