"""How soon a realtime session speaks, how soon it is silent when somebody interrupts, and what a session holds.

    python loadtest/bench/realtime.py
    python loadtest/bench/realtime.py --only talks --sessions 1 --turns 4

One server, and one gateway as a process of its own; each session has a picture and a microphone that sends 40 ms of
sound every 40 ms, as a browser does.

talks: from the end of the spoken question (when its last sound was sent) to the first sound of the answer. The silence
    after which a turn is over is a part of it, and is shown beside it; what is left is hearing, thinking and speaking.
interruptions: from the first sound of a second question, said while an answer plays, to `speech_started`, at which a
    player stops, or to the last sound of the old answer, where that came later.
memory: the gateway's own, before and after so many sessions that send silence.
Every event must come in OpenAI's order; a run in which one does not fails.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import numpy as np
import psutil
import soxr
import typer
from gateway import picture
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

from tritone.server.background import serve
from tritone_client import Client
from tritone_gateway import background

RATE, BLOCK_S = 24_000, 0.04
QUESTION, SECOND = "What color is the circle?", "Describe the picture."
GOAL_MS = 200  # from an interruption to silence
MODELS = ("voice_assistant_stream", "catalog")
ORDER = (
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
)


class User:
    """A session with a microphone."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.waiting, self.said_at = socket, bytearray(), 0.0
        self.kinds: list[str] = []

    async def send(self, kind: str, **fields: Any) -> None:
        """An event."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, *kinds: str) -> tuple[dict[str, Any], float]:
        """The first event of these kinds, and when it came.

        Raises: RuntimeError: an error came.
        """
        while True:
            event = json.loads(await self.socket.recv())
            self.kinds.append(event["type"])
            if event["type"] == "error" or event.get("response", {}).get("status") == "failed":
                raise RuntimeError(json.dumps(event))
            if event["type"] in kinds:
                return event, time.perf_counter()

    async def listen(self) -> None:
        """Send what is said, and silence where nothing is."""
        size, start, count = round(2 * RATE * BLOCK_S), time.perf_counter(), 0
        while True:
            block, speaks = bytes(self.waiting[:size]).ljust(size, b"\0"), bool(self.waiting)
            del self.waiting[:size]
            await self.send("input_audio_buffer.append", audio=base64.b64encode(block).decode())
            if speaks and not self.waiting:
                self.said_at = time.perf_counter()
            count += 1
            await asyncio.sleep(max(0.0, start + count * BLOCK_S - time.perf_counter()))


@contextlib.asynccontextmanager
async def user(url: str, silence_ms: int) -> AsyncIterator[User]:
    """A session that has a picture and listens."""
    async with connect(f"{url.replace('http', 'ws', 1)}/v1/realtime?model=llava", max_size=None) as socket:
        caller = User(socket)
        detection = {"type": "server_vad", "silence_duration_ms": silence_ms}
        await caller.send(
            "session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
        )
        shown = "data:image/png;base64," + base64.b64encode(picture()).decode()
        content = [{"type": "input_image", "image_url": shown}]
        await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await caller.until("conversation.item.done")
        listening = asyncio.create_task(caller.listen())
        try:
            yield caller
        finally:
            listening.cancel()


async def talk(caller: User, question: bytes, turns: int) -> list[float]:
    """Seconds from the end of each question to the first sound of its answer."""
    waits = []
    for _ in range(turns):
        caller.kinds.clear()
        caller.waiting += question
        _, came = await caller.until("response.output_audio.delta")
        waits.append(came - caller.said_at)
        await caller.until("response.done")
        check_order(caller.kinds)
        await asyncio.sleep(1.5)  # the answer plays
    return waits


async def interrupt(caller: User, question: bytes, second: bytes, turns: int) -> list[float]:
    """Seconds from the first sound of an interruption to silence."""
    waits = []
    for _ in range(turns):
        caller.waiting += question
        await caller.until("response.output_audio.delta")
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        caller.waiting += second
        event, silent = {"type": ""}, began
        while event["type"] != "input_audio_buffer.speech_started":
            event, silent = await caller.until("response.output_audio.delta", "input_audio_buffer.speech_started")
        waits.append(silent - began)
        event, came = await caller.until("response.created", "response.output_audio.delta")
        if event["type"] == "response.output_audio.delta":  # of the old answer, which was to be silent
            waits[-1] = came - began
        await caller.until("response.done")
        await asyncio.sleep(2)
    return waits


def check_order(kinds: Sequence[str]) -> None:
    """Raises: RuntimeError: events of a response came in another order than OpenAI's."""
    first = list(dict.fromkeys(kind for kind in kinds if kind in ORDER))
    if first != list(ORDER):
        raise RuntimeError(f"events came in the order {first}")


def pcm(client: Client, text: str) -> bytes:
    """A text, spoken, without the silence around it."""
    speech = client.speak(text)
    words = speech.words
    begin, end = (round(at * speech.sampling_rate) for at in (words[0].start, words[-1].end))
    samples = soxr.resample(speech.audio[begin:end], speech.sampling_rate, RATE)
    return bytes((samples.clip(-1, 1) * 32_767).astype("<i2").tobytes())


def row(table: Table, sessions: int, waits: Sequence[float], *more: str) -> None:
    """Median and 95th percentile in ms."""
    median, late = (1000 * float(np.percentile(waits, q)) for q in (50, 95))
    table.add_row(str(sessions), f"{median:.0f}", f"{late:.0f}", *more)


async def together(url: str, sessions: int, silence_ms: int, work: Any) -> list[float]:
    """What so many users measure at a time, in one list."""

    async def one(number: int) -> list[float]:
        await asyncio.sleep(number * 0.7)  # nobody speaks in chorus
        async with user(url, silence_ms) as caller:
            return list(await work(caller))

    return [wait for waits in await asyncio.gather(*map(one, range(sessions))) for wait in waits]


async def memory(url: str, process: psutil.Process, sessions: int) -> float:
    """MiB of the gateway for each session that listens."""
    async with user(url, 500):
        await asyncio.sleep(2)
        before = process.memory_info().rss
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(sessions):
                await stack.enter_async_context(user(url, 500))
            await asyncio.sleep(5)
            return float(process.memory_info().rss - before) / sessions / 2**20


def main(
    only: Annotated[list[str] | None, typer.Option(help="talks, interruptions, memory; all by default.")] = None,
    sessions: Annotated[list[int] | None, typer.Option(help="How many at a time.")] = None,
    turns: Annotated[int, typer.Option(help="Of each session.")] = 10,
    silence_ms: Annotated[int, typer.Option(help="After which a turn is over.")] = 500,
) -> None:
    """Print the tables."""
    parts, counts = only or ["talks", "interruptions", "memory"], sessions or [1, 4, 8]
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(serve("--device=cpu", f"--models={','.join(MODELS)}", report=lambda _: None))
        client = stack.enter_context(Client(address.grpc))
        gateway = stack.enter_context(background.serve(address.grpc))
        url, process = gateway.url, psutil.Process(gateway.process.pid)
        question, second = pcm(client, QUESTION), pcm(client, SECOND)

        def measure(count: int, work: Any) -> list[float]:
            return asyncio.run(together(url, count, silence_ms, work))

        measure(1, lambda caller: talk(caller, question, 2))  # warm up
        console = Console()
        if "talks" in parts:
            waits = {count: measure(count, lambda caller: talk(caller, question, turns)) for count in counts}
            console.print(talks(waits, silence_ms))
        if "interruptions" in parts:
            waits = {
                count: measure(count, lambda caller: interrupt(caller, question, second, turns)) for count in counts
            }
            console.print(interruptions(waits))
        if "memory" in parts:
            console.print(f"memory: {asyncio.run(memory(url, process, 30)):.1f} MiB a session, of 30 that listen")


def talks(waits: dict[int, list[float]], silence_ms: int) -> Table:
    """What came of the talks."""
    table = Table("sessions", "to the first sound, ms", "p95", "of it silence", "left", title="talks")
    for count, each in waits.items():
        row(table, count, each, str(silence_ms), f"{1000 * float(np.median(each)) - silence_ms:.0f}")
    return table


def interruptions(waits: dict[int, list[float]]) -> Table:
    """What came of the interruptions."""
    table = Table("sessions", "to silence, ms", "p95", f"goal {GOAL_MS}", title="interruptions")
    for count, each in waits.items():
        met = 1000 * float(np.percentile(each, 95)) <= GOAL_MS
        row(table, count, each, "met" if met else "missed")
    return table


if __name__ == "__main__":
    typer.run(main)
