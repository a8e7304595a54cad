"""What a request costs over HTTP beside gRPC: the same questions to one server, both ways in turn.

    python loadtest/bench/client.py

One caller at a time asks about a picture, embeds a text, has an answer streamed (all of it, and its first piece), each
with the blocking client and with the asynchronous one. The medians and the ratio HTTP to gRPC are printed.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import time
from collections.abc import Awaitable, Callable
from random import Random

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tritone.server.background import serve
from tritone.vision.shapes import draw_scene, render
from tritone_client import AsyncClient, Client

MODELS = "llava_answer,clip_text"
QUESTION, TEXT = "What color is the circle?", "a red circle"


def picture() -> bytes:
    """A picture of a usual size."""
    file = io.BytesIO()
    render(draw_scene(Random(7), pairs=[("red", "circle"), ("blue", "star")]), 384).save(file, "PNG")
    return file.getvalue()


def blocking(client: Client, shown: bytes) -> dict[str, Callable[[], object]]:
    """What is measured; each answers with what takes the place of the clock's end."""
    return {
        "ask with a picture": lambda: client.ask(QUESTION, shown),
        "embed a text": lambda: client.embed(TEXT),
        "stream, whole": lambda: list(client.ask_stream("Describe a red circle.", max_tokens=16)),
        "stream, first piece": lambda: next(client.ask_stream("Describe a red circle.", max_tokens=16)),
    }


def asynchronous(client: AsyncClient, shown: bytes) -> dict[str, Callable[[], Awaitable[object]]]:
    """The same on an event loop."""

    async def whole() -> None:
        async for _ in client.ask_stream("Describe a red circle.", max_tokens=16):
            pass

    async def first() -> None:
        chunks = client.ask_stream("Describe a red circle.", max_tokens=16)
        await anext(chunks)
        await chunks.aclose()

    return {
        "ask with a picture": lambda: client.ask(QUESTION, shown),
        "embed a text": lambda: client.embed(TEXT),
        "stream, whole": whole,
        "stream, first piece": first,
    }


def main(rounds: int = 200) -> None:
    """Print the table."""
    console = Console()
    with serve("--device=cpu", f"--models={MODELS}", report=lambda _: None) as address:
        urls = {"gRPC": address.grpc, "HTTP": f"http://{address.http}"}
        asyncio.run(measure(urls, rounds, console))


async def measure(urls: dict[str, str], rounds: int, console: Console) -> None:
    """Each verb over each protocol with each client, in turns, so that all share the machine's moods."""
    shown = picture()
    clients = {wire: (Client(url, retries=0), AsyncClient(url, retries=0)) for wire, url in urls.items()}
    times: dict[tuple[str, str, str], list[float]] = {}
    for count in track(range(rounds + 5), "asking", console=console, transient=True):
        for wire, (client, other) in clients.items():
            for verb, ask in blocking(client, shown).items():
                started = time.perf_counter()
                ask()
                times.setdefault((verb, "Client", wire), []).append(time.perf_counter() - started)
            for verb, wait in asynchronous(other, shown).items():
                started = time.perf_counter()
                await wait()
                times.setdefault((verb, "AsyncClient", wire), []).append(time.perf_counter() - started)
        if count < 5:  # the first ones warm up
            times.clear()
    for client, other in clients.values():
        client.close()
        await other.close()
    console.print(table({key: statistics.median(taken) * 1000 for key, taken in times.items()}))


def table(medians: dict[tuple[str, str, str], float]) -> Table:
    """Medians in ms, and how much longer HTTP takes."""
    shown = Table("verb", "client", "gRPC, ms", "HTTP, ms", "HTTP / gRPC", title="one caller at a time")
    for verb, client, _ in (key for key in medians if key[2] == "gRPC"):
        grpc, http = medians[verb, client, "gRPC"], medians[verb, client, "HTTP"]
        shown.add_row(verb, client, f"{grpc:.2f}", f"{http:.2f}", f"{http / grpc:.2f}")
    return shown


if __name__ == "__main__":
    typer.run(main)
