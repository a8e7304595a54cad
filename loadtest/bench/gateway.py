"""What the gateway costs beside the direct gRPC call: the same questions to one server, both ways in turn.

    python loadtest/bench/gateway.py

One caller at a time has a question answered, a text embedded, and the first piece of a stream sent: medians, and what
the gateway adds. Then a thousand texts in one call, both ways in turn, and the gateway's memory over mixed requests.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tritone.server.background import serve
from tritone_client import Client

MODELS = "llava_answer,clip_text"
QUESTION, TEXT = "What color is the circle?", "a red circle"
CHAT = {"model": "llava", "messages": [{"role": "user", "content": QUESTION}]}
WARM_UP = 5
Timed = tuple[str, Callable[[], object], Callable[[], object]]  # a name, the direct call, the same by the gateway


@contextmanager
def gateway(server: str) -> Iterator[tuple[psutil.Process, str]]:
    """The gateway's process and its address."""
    command = [sys.executable, "-m", "tritone_gateway", "--port=0", f"--server={server}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"ready: (http://\S+)/v1", line) for line in process.stdout)))
        yield psutil.Process(process.pid), found[1]
        process.terminate()


def first_piece(http: httpx.Client) -> None:
    """Of a stream, which is then left."""
    with http.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_raw())


def pairs(client: Client, http: httpx.Client) -> list[Timed]:
    """What is measured."""
    return [
        ("chat", lambda: client.ask(QUESTION), lambda: http.post("/v1/chat/completions", json=CHAT)),
        ("first piece of a stream", lambda: next(client.ask_stream(QUESTION)), lambda: first_piece(http)),
        (
            "embedding of a text",
            lambda: client.embed_text(TEXT),
            lambda: http.post("/v1/embeddings", json={"model": "clip", "input": TEXT}),
        ),
    ]


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def many(client: Client, http: httpx.Client, count: int = 1000, rounds: int = 5) -> tuple[float, float]:
    """Texts a second in one call: directly, and by the gateway."""
    texts = [f"a red circle, number {index}" for index in range(count)]
    body = {"model": "clip", "input": texts, "encoding_format": "base64"}
    taken = [
        (seconds(lambda: client.embed_text(texts)), seconds(lambda: http.post("/v1/embeddings", json=body)))
        for _ in range(rounds)
    ]
    return count / min(one for one, _ in taken), count / min(other for _, other in taken)


def growth(process: psutil.Process, work: list[Callable[[], object]], requests: int, console: Console) -> float:
    """The gateway's memory after mixed requests, as a share of what it was after a tenth of them."""
    for number in track(range(requests), "asking on", console=console, transient=True):
        if number == requests // 10:
            before = process.memory_info().rss
        work[number % len(work)]()
    return float(process.memory_info().rss / before)


def main(rounds: int = 200, requests: int = 2000) -> None:
    """Print the figures."""
    console = Console()
    with (
        serve("--device=cpu", f"--models={MODELS}", report=lambda _: None) as address,
        gateway(address.grpc) as (
            process,
            url,
        ),
        Client(address.grpc, retries=0) as client,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        measured = pairs(client, http)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in measured}
        for count in track(range(rounds + WARM_UP), "asking", console=console, transient=True):
            for name, direct, through in measured:
                pair = seconds(direct), seconds(through)
                if count >= WARM_UP:
                    times[name].append(pair)
        console.print(table(times))
        direct, through = many(client, http)
        console.print(f"1,000 texts in one call: {direct:.0f} a second, {through:.0f} by the gateway")
        grown = growth(process, [through for *_, through in measured], requests, console)
        console.print(f"memory after {requests} requests: {grown:.3f} of what it was after {requests // 10}")


def table(times: dict[str, list[tuple[float, float]]]) -> Table:
    """Medians in ms, and the median of what the gateway adds to its neighbour in time."""
    shown = Table("what", "gRPC, ms", "gateway, ms", "added, ms", title="one caller at a time")
    for name, taken in times.items():
        direct, through = (statistics.median(column) * 1000 for column in zip(*taken, strict=True))
        added = statistics.median(other - one for one, other in taken) * 1000
        shown.add_row(name, f"{direct:.2f}", f"{through:.2f}", f"{added:.2f}")
    return shown


if __name__ == "__main__":
    typer.run(main)
