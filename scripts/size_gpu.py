"""What the models take of a GPU, as a table: before anything is loaded, on a machine without one too.

python scripts/size_gpu.py                                      the models and checkpoints as they are
python scripts/size_gpu.py --models llava_answer --gib 24       do these fit into a card of 24 GiB?
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tritone.checkpoints import MissingCheckpoint
from tritone.server import gpu_memory, repository
from tritone.server.gpu_memory import GIB
from tritone.server.repository import CannotStart

ROOT = Path(__file__).parents[1]
COLUMNS = ("weights", "cache", "requests", "context", "idle", "most")


def main(
    models: Annotated[str, typer.Option(help="Names, separated by commas. [default: all]")] = "",
    config: Annotated[str, typer.Option(help="configs/NAME.pbtxt where a model has it, such as l4.")] = "",
    gib: Annotated[float, typer.Option(help="Memory of the card; 0 asks CUDA.")] = 0.0,
) -> None:
    """Print the table, and whether it fits; exit code 2 if the models would not load."""
    console = Console()
    try:
        found = repository.read([ROOT / "model_repository", ROOT / "ensembles"], config or None)
        chosen = repository.select(found, [name.strip() for name in models.split(",") if name.strip()])
        free = {0: int(gib * GIB)} if gib else gpu_memory.free_memory()
        smallest = min(free.values(), default=0)
        console.print(_table([need.on(smallest) for need in gpu_memory.needs(chosen)]))
        warning = gpu_memory.check(chosen, free)
    except (CannotStart, MissingCheckpoint) as error:
        console.print(f"size_gpu: {error}", soft_wrap=True)
        raise typer.Exit(2) from None
    verdict = "no GPU to hold it against: --gib says how large one is" if not free else warning or "they fit"
    console.print(f"size_gpu: {verdict}", soft_wrap=True)


def _table(needs: list[gpu_memory.Need]) -> Table:
    table = Table("model", *COLUMNS, title="GiB of one GPU")
    for need in needs:
        table.add_row(need.model, *(f"{getattr(need, column) / GIB:.2f}" for column in COLUMNS))
    sums = [sum(getattr(need, column) for need in needs) / GIB for column in COLUMNS]
    table.add_section()
    table.add_row("together", *(f"{size:.2f}" for size in sums))
    return table


if __name__ == "__main__":
    typer.run(main)
