"""Install other people's clients, each into an environment of its own under `.clients/`, for the tests of the gateway.

    python scripts/install_clients.py                 those that `make test` uses
    python scripts/install_clients.py langchain       one by name

Their packages stay away from this project's: numpy below 2, which the server needs, is none of their business. What
each holds stands in `tests/clients/environments/`, with the sha256 of every package.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "tests" / "clients" / "environments"
ENVIRONMENTS = ROOT / ".clients"
USUAL = ("openai", "openai-agents", "litellm", "livekit", "pipecat")
console = Console(stderr=True, highlight=False)


def install(name: str) -> Path:
    """The Python of a client's environment, which is made anew where its lock has changed.

    Raises:
        FileNotFoundError: no such client; subprocess.CalledProcessError: a package cannot be had.
    """
    lock = LOCKS / f"{name}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    folder = ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / "lock.sha256"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    packages = ["--require-hashes", "--requirement", str(lock)]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
    stamp.write_text(digest, encoding="utf-8")
    return python


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Clients; those of `make test` when none is named.")] = None,
) -> None:
    """Install clients."""
    known = sorted(lock.stem for lock in LOCKS.glob("*.lock"))
    if unknown := set(names or ()) - set(known):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there is {', '.join(known)}")
    for name in names or USUAL:
        with console.status(f"installing {name}"):
            install(name)
    console.print(f"Clients: {', '.join(names or USUAL)} stand in {ENVIRONMENTS.name}/")


if __name__ == "__main__":
    typer.run(main)
