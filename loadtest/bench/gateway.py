"""What the gateway costs beside the same call of tritone_client over gRPC, and whether it holds under many callers.

    python loadtest/bench/gateway.py
    python loadtest/bench/gateway.py --only streams --streams 50

One server, and one gateway as a process of its own. The gateway is asked by httpx over a kept connection with JSON made
beforehand, so that a client's own work is small.

overhead: one caller at a time; each request goes both ways in turn, and the difference is taken pair by pair.
streams: so many chats are streamed at once; who is refused comes again when he is told. Every text must be that of the
    same question asked alone.
memory: the gateway's own memory over mixed requests of eight callers, errors among them, after a warm-up.
embeddings: one call with many texts, against the direct client's `embed_text` of the same list.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tritone.server.background import Address, serve
from tritone.vision.shapes import draw_scene, render
from tritone_client import AsyncClient, Client
from tritone_gateway import background

MODELS = {
    "overhead": ("llava_answer", "clip_text"),
    "streams": ("llava_answer",),
    "memory": ("llava_answer", "clip_text", "transcribe", "speak_stream"),
    "embeddings": ("clip_text",),
}
GOALS_MS = {"chat, whole": 3.0, "embeddings, one text": 3.0, "chat, first token": 5.0}
MOST_GROWTH, LEAST_THROUGHPUT = 0.05, 0.9
USERS = 8  # whose mixed requests the gateway's memory is watched over
QUESTION, DESCRIBE, TEXT = "What color is the circle?", "Describe the picture.", "a red circle"
Body = dict[str, Any]


# ---- what is asked


def picture(seed: int = 7, size: int = 256) -> bytes:
    """A drawn scene with a red circle in it."""
    file = io.BytesIO()
    render(draw_scene(Random(seed), pairs=[("red", "circle"), ("blue", "star")]), size).save(file, "PNG")
    return file.getvalue()


def chat(question: str, shown: bytes, **more: object) -> Body:
    """A body of /v1/chat/completions."""
    url = "data:image/png;base64," + base64.b64encode(shown).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    return {"model": "llava", "messages": [{"role": "user", "content": content}], **more}


def texts(count: int) -> list[str]:
    """So many different captions, of three to twenty words, in English and Chinese."""
    random, words = Random(1), ("a", "red", "circle", "blue", "star", "above", "left", "of", "and", "红色的", "圆形")
    return [f"{index} {' '.join(random.choices(words, k=random.randint(3, 20)))}" for index in range(count)]


def deltas(lines: Iterator[str]) -> Iterator[str]:
    """The pieces of a streamed answer.

    Raises: RuntimeError: an error in the middle of it.
    """
    for line in lines:
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                raise RuntimeError(event["error"]["message"])
            yield from (choice["delta"].get("content") or "" for choice in event["choices"])


# ---- overhead


def direct_ways(client: Client, shown: bytes) -> dict[str, Callable[[], float]]:
    """Each returns the seconds until what is measured was there."""
    return {
        "chat, whole": lambda: took(lambda: client.ask(QUESTION, shown)),
        "embeddings, one text": lambda: took(lambda: client.embed(TEXT)),
        "chat, first token": lambda: until_first(chunk.text for chunk in client.ask_stream(QUESTION, shown)),
    }


def gateway_ways(http: httpx.Client, shown: bytes) -> dict[str, Callable[[], float]]:
    """The same by the gateway."""
    json_type = {"content-type": "application/json"}
    whole, streamed, embedded = (
        json.dumps(body).encode()
        for body in (chat(QUESTION, shown), chat(QUESTION, shown, stream=True), {"model": "clip", "input": TEXT})
    )

    def ask(path: str, content: bytes) -> float:
        return took(lambda: json.loads(http.post(path, content=content, headers=json_type).raise_for_status().content))

    def stream() -> float:
        def pieces() -> Iterator[str]:
            with http.stream("POST", "/v1/chat/completions", content=streamed, headers=json_type) as answer:
                yield from deltas(answer.raise_for_status().iter_lines())

        return until_first(pieces())

    return {
        "chat, whole": lambda: ask("/v1/chat/completions", whole),
        "embeddings, one text": lambda: ask("/v1/embeddings", embedded),
        "chat, first token": stream,
    }


def took(work: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def until_first(pieces: Iterator[str]) -> float:
    """Seconds to the first words; the rest is read, too, so that nothing of it is left for the next one."""
    started = time.perf_counter()
    first = next(time.perf_counter() - started for piece in pieces if piece)
    for _ in pieces:
        pass
    return first


def overhead(server: Address, url: str, rounds: int, console: Console) -> Table:
    """Medians of both ways, and of the differences within pairs."""
    shown = picture()
    with Client(server.grpc, retries=0) as client, httpx.Client(base_url=url, timeout=60) as http:
        direct, by_gateway = direct_ways(client, shown), gateway_ways(http, shown)
        pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in direct}
        for count in track(range(rounds + 10), "overhead", console=console, transient=True):
            for name in direct:
                pair = direct[name](), by_gateway[name]()
                if count >= 10:  # the first ones warm up
                    pairs[name].append(pair)
    table = Table("one caller", "gRPC, ms", "gateway, ms", "ratio", "overhead, ms", "goal", title=f"{rounds} rounds")
    for name, taken in pairs.items():
        grpc, http_way = (1000 * statistics.median(side) for side in zip(*taken, strict=True))
        more = 1000 * statistics.median(ours - theirs for theirs, ours in taken)
        row = f"{grpc:.2f}", f"{http_way:.2f}", f"{http_way / grpc:.2f}", f"{more:.2f}"
        table.add_row(name, *row, verdict(more <= GOALS_MS[name], f"≤ {GOALS_MS[name]:g}"))
    return table


def verdict(met: bool, goal: str) -> str:
    """The goal, and whether it was met."""
    return goal if met else f"[bold]{goal}: missed[/bold]"


# ---- streams


@dataclass
class Crowd:
    """What callers saw who all had a chat streamed at the same time."""

    right: int = 0
    wrong: int = 0
    dropped: list[str] = field(default_factory=list)
    refusals: int = 0
    open: int = 0
    most_open: int = 0
    firsts: list[float] = field(default_factory=list)  # seconds to the first words, refusals included

    async def one(self, http: httpx.AsyncClient, body: bytes, expected: str) -> None:
        """One caller, who does as he is told until he has his answer."""
        started = time.perf_counter()
        try:
            while (wait_s := await self._attempt(http, body, expected, started)) is not None:
                self.refusals += 1
                await asyncio.sleep(wait_s)
        except (httpx.HTTPError, RuntimeError) as error:
            self.dropped.append(repr(error))

    async def _attempt(self, http: httpx.AsyncClient, body: bytes, expected: str, started: float) -> float | None:
        """Seconds to wait where he was refused."""
        headers = {"content-type": "application/json"}
        async with http.stream("POST", "/v1/chat/completions", content=body, headers=headers) as answer:
            if answer.status_code == 429:
                return int(answer.headers["retry-after-ms"]) / 1000
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            said, ended = "", False
            async for line in answer.raise_for_status().aiter_lines():
                new = "".join(deltas(iter((line,))))
                if new and not said:
                    self.firsts.append(time.perf_counter() - started)
                said, ended = said + new, ended or line == "data: [DONE]"
            self.open -= 1
            if not ended:
                raise RuntimeError(f"ended without [DONE] after {said!r}")
            self.right, self.wrong = self.right + (said == expected), self.wrong + (said != expected)
        return None


def streams(server: Address, url: str, count: int) -> Table:
    """So many streams at once, held against the same questions asked alone."""
    shown = [picture(seed) for seed in range(8)]
    with Client(server.grpc) as client:
        alone = [client.ask(DESCRIBE, each).text for each in shown]
    bodies = [json.dumps(chat(DESCRIBE, each, stream=True)).encode() for each in shown]
    crowd = Crowd()

    async def all_at_once() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
            await asyncio.gather(*(crowd.one(http, bodies[i % 8], alone[i % 8]) for i in range(count)))

    taken = took(lambda: asyncio.run(all_at_once()))
    table = Table("streams", "right", "wrong", "dropped", "refusals", "most open", "first words, ms", "p95", "all, s")
    firsts = [1000 * first for first in sorted(crowd.firsts)]
    p95 = firsts[int(0.95 * len(firsts))] if firsts else float("nan")
    row = (str(number) for number in (count, crowd.right, crowd.wrong, len(crowd.dropped), crowd.refusals))
    table.add_row(*row, str(crowd.most_open), f"{statistics.median(firsts):.0f}", f"{p95:.0f}", f"{taken:.1f}")
    for said in sorted(set(crowd.dropped)):
        table.add_row(f"[bold]dropped: {said}[/bold]")
    return table


# ---- memory


class Mixture:
    """Requests of every kind, in turn, each with the status that it must have."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=120, limits=httpx.Limits(max_connections=None))
        speech = {"model": "tts", "voice": "alloy", "input": "The circle is red.", "response_format": "wav"}
        self.speech, self.sound = speech, self.http.post("/v1/audio/speech", json=speech).raise_for_status().content
        self.shown = picture()

    def one(self, number: int) -> None:
        """A request; who is refused comes again when he is told."""
        kinds: tuple[tuple[Callable[[], httpx.Response], int], ...] = (
            (lambda: self.post("chat/completions", chat(QUESTION, self.shown)), 200),
            (lambda: self.post("chat/completions", chat(QUESTION, self.shown, stream=True)), 200),
            (lambda: self.post("embeddings", {"model": "clip", "input": [TEXT, f"{number} blue stars"]}), 200),
            (lambda: self.post("audio/speech", self.speech), 200),
            (self.transcribe, 200),
            (lambda: self.http.get("/v1/models"), 200),
            (lambda: self.post("embeddings", {"model": "clip", "input": []}), 400),
            (lambda: self.post("chat/completions", {"model": f"nobody-{number}", "messages": []}), 404),
        )
        ask, status = kinds[number % len(kinds)]
        while (answer := ask()).status_code == 429:
            time.sleep(int(answer.headers["retry-after-ms"]) / 1000)
        assert answer.status_code == status, (answer.status_code, answer.text[:500])

    def post(self, path: str, body: Body) -> httpx.Response:
        """JSON to an address below /v1."""
        return self.http.post(f"/v1/{path}", json=body)

    def transcribe(self) -> httpx.Response:
        """What was spoken, heard."""
        return self.http.post("/v1/audio/transcriptions", data={"model": "whisper"}, files={"file": self.sound})


def memory(process: psutil.Process, url: str, requests: int, console: Console) -> Table:
    """Resident MB of the gateway after the warm-up, a quarter as many requests, and after each tenth of the others."""
    mixture, sizes = Mixture(url), list[float]()
    numbers = itertools.count()
    with contextlib.closing(mixture.http), ThreadPoolExecutor(USERS) as pool:

        def some(count: int) -> None:
            list(pool.map(mixture.one, itertools.islice(numbers, count)))
            sizes.append(process.memory_info().rss / 1e6)

        for count in track([requests // 4] + 10 * [requests // 10], "memory", console=console, transient=True):
            some(count)
    growth = max(sizes) / sizes[0] - 1
    table = Table("requests", "warm, MB", "then, MB", "growth", "goal", title=f"{USERS} callers, mixed requests")
    then, goal = " ".join(f"{size:.0f}" for size in sizes[1:]), f"≤ {MOST_GROWTH:.0%}"
    table.add_row(str(requests), f"{sizes[0]:.0f}", then, f"{growth:+.1%}", verdict(growth <= MOST_GROWTH, goal))
    return table


# ---- embeddings


def embeddings(server: Address, url: str, count: int, rounds: int, console: Console) -> Table:
    """Texts a second in one call, beside both direct clients; ratios to the blocking one are medians of rounds."""
    listed = texts(count)

    async def on_a_loop() -> None:
        async with AsyncClient(server.grpc) as client:
            await client.embed_text(listed)

    with Client(server.grpc) as client, httpx.Client(base_url=url, timeout=600) as http:

        def post(encoding: str) -> None:
            body = {"model": "clip", "input": listed, "encoding_format": encoding}
            assert len(http.post("/v1/embeddings", json=body).raise_for_status().json()["data"]) == count

        sides: dict[str, Callable[[], object]] = {
            "Client": lambda: client.embed_text(listed),
            "AsyncClient": lambda: asyncio.run(on_a_loop()),
            "gateway, base64 (as the SDK asks)": lambda: post("base64"),
            "gateway, numbers": lambda: post("float"),
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in track(range(rounds + 1), "embeddings", console=console, transient=True):
            for name, side in sides.items():
                times[name].append(took(side))
    speeds = {name: count / statistics.median(taken[1:]) for name, taken in times.items()}
    table = Table("one call", "texts/s", "ratio", "goal", title=f"{count} texts, {rounds} rounds")
    for name, speed in speeds.items():
        ratio = statistics.median(one / ours for one, ours in zip(times["Client"][1:], times[name][1:], strict=True))
        goal = verdict(ratio >= LEAST_THROUGHPUT, f"≥ {LEAST_THROUGHPUT:g}") if name.startswith("gateway") else ""
        table.add_row(name, f"{speed:.0f}", f"{ratio:.2f}", goal)
    return table


def main(
    rounds: int = 200,
    streams_at_once: Annotated[int, typer.Option("--streams")] = 200,
    requests: int = 2000,
    many: Annotated[int, typer.Option("--texts")] = 1000,
    only: Annotated[str, typer.Option(help="overhead, streams, memory or embeddings; all when empty")] = "",
) -> None:
    """Print a table for each part."""
    console, parts = Console(), (only,) if only else tuple(MODELS)
    models = ",".join(dict.fromkeys(model for part in parts for model in MODELS[part]))
    with (
        serve("--device=cpu", f"--models={models}", report=lambda _: None) as server,
        background.serve(server.grpc) as gateway,
    ):
        url, process = gateway.url, psutil.Process(gateway.process.pid)
        measure: dict[str, Callable[[], Table]] = {
            "overhead": lambda: overhead(server, url, rounds, console),
            "streams": lambda: streams(server, url, streams_at_once),
            "memory": lambda: memory(process, url, requests, console),
            "embeddings": lambda: embeddings(server, url, many, max(1, rounds // 20), console),
        }
        for part in parts:
            console.print(measure[part]())


if __name__ == "__main__":
    typer.run(main)
