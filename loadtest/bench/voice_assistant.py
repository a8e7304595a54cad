"""How soon and how smoothly the voice assistant speaks: streamed clause by clause, and as one answer.

    python loadtest/bench/voice_assistant.py

Users ask spoken questions about pictures. Of the streaming assistant is measured the time from the request to the first
sound, and how long a player that starts with it would have to wait between chunks (underrun); of the unary ensemble the
time to its answer, on the same questions, in turns. There are two crowds: impatient users ask again as soon as the last
answer has arrived, so the processors never rest, and who is refused asks again when he is told; users in conversation
hear the answer to its end and take the time that speaking the next question takes. Then a text of 10 and one of 60
words is spoken: its first sound must not wait for its length.
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import numpy as np
import psutil
import typer
from refusals import patient_stream
from rich.console import Console
from rich.table import Table

from tritone.server.background import serve
from tritone.vision.shapes import draw_scene, render
from tritone_client import Client, Speech

QUESTIONS = (
    "What is in this picture?",
    "What color is the circle?",
    "How many shapes are there?",
    "Describe the picture.",
)
CONCURRENCY = (1, 4, 8)
TEN_WORDS = "The red circle is in the top left of it."
SIXTY_WORDS = TEN_WORDS + " " + "There is a blue square in the middle, and a small yellow star is to the right. " * 3


@dataclass(frozen=True)
class Turn:
    """One answer as its listener had it, in seconds."""

    first_sound: float
    underrun: float
    whole: float
    left_to_play: float  # of the sound, when the last of it had arrived


def listen(chunks: Iterator[Speech | None]) -> Turn:
    """Play chunks as they come, without a speaker; the first `next` sends the request, so the clock starts before."""
    started = time.perf_counter()
    first = buffered = waited = 0.0
    for speech in chunks:
        now = time.perf_counter() - started
        if speech is None:
            continue
        if not first:
            first = buffered = now
        waited += max(now - buffered, 0.0)
        buffered = max(now, buffered) + speech.duration
    whole = time.perf_counter() - started
    return Turn(first, waited, whole, max(buffered - whole, 0.0))


def work(server: psutil.Process) -> float:
    """Seconds that the server's processes have computed, spread over all processors."""
    times = [each.cpu_times() for each in (server, *server.children(recursive=True))]
    return sum(each.user + each.system for each in times) / len(os.sched_getaffinity(0))


def crowd(ask: Callable[[int], Turn], users: int, turns: int) -> list[Turn]:
    """`turns` turns, asked by so many users at a time."""
    with ThreadPoolExecutor(users) as pool:
        return list(pool.map(ask, range(turns)))


def ms(values: Sequence[float], percentile: float = 50) -> float:
    """A percentile in milliseconds."""
    return float(np.percentile(values, percentile)) * 1000


def main(turns: int = 24) -> None:
    """Print the tables."""
    console = Console()
    pictures = []
    for seed in range(8):
        file = io.BytesIO()
        render(draw_scene(Random(seed), pairs=[("red", "circle"), ("blue", "star")]), 256).save(file, "PNG")
        pictures.append(file.getvalue())
    with serve("--device=cpu", report=lambda _: None) as address, Client(address.grpc, retries=0) as client:
        spoken = [client.speak(question) for question in QUESTIONS]
        questions = [speech.wav for speech in spoken]

        def stream(number: int) -> Turn:
            asked = questions[number % 4], pictures[number % 8]
            return listen(patient_stream(lambda: (chunk.speech for chunk in client.converse_stream(*asked))))

        def unary(number: int) -> Turn:
            asked = questions[number % 4], pictures[number % 8]
            return listen(patient_stream(lambda: (client.converse(*asked).speech for _ in range(1))))

        def converse(number: int) -> Turn:
            time.sleep(spoken[number % 4].duration)
            turn = stream(number)
            time.sleep(turn.left_to_play)
            return turn

        for number in range(4):  # warm up
            stream(number), unary(number)
        server = psutil.Process(address.process.pid)
        assistants(console, stream, unary, turns, lambda: work(server))
        conversations(console, converse, turns)
        lengths(console, client)


def assistants(
    console: Console,
    stream: Callable[[int], Turn],
    unary: Callable[[int], Turn],
    turns: int,
    work: Callable[[], float],
) -> None:
    """First sound, underrun and whole answer at each concurrency, beside the unary ensemble.

    "bound": where processors never rest, each of so many users gets an answer once in so many turns' work.
    """
    table = Table(
        *("users", "first sound ms", "p95", "p95 : alone", "bound", "work ms", "underrun p95 ms"),
        *("unary ms", "p95", "first : unary"),
    )
    alone = 0.0
    for users in CONCURRENCY:
        count, before = max(turns, 4 * users), work()
        streamed = crowd(stream, users, count)
        turn = (work() - before) / count
        whole = crowd(unary, users, count)
        firsts, answers = [turn.first_sound for turn in streamed], [turn.first_sound for turn in whole]
        alone = alone or ms(firsts)
        table.add_row(
            str(users), f"{ms(firsts):.0f}", f"{ms(firsts, 95):.0f}", f"{ms(firsts, 95) / alone:.2f}",
            f"{1000 * users * turn / alone:.2f}", f"{1000 * turn:.0f}",
            f"{ms([turn.underrun for turn in streamed], 95):.0f}", f"{ms(answers):.0f}", f"{ms(answers, 95):.0f}",
            f"{ms(firsts) / ms(answers):.2f}",
        )  # fmt: skip
    console.print(table)


def conversations(console: Console, converse: Callable[[int], Turn], turns: int) -> None:
    """First sound and underrun for users who listen and speak."""
    table = Table("users in conversation", "first sound ms", "p95", "p95 : alone", "underrun p95 ms")
    alone = 0.0
    for users in CONCURRENCY:
        held = crowd(converse, users, max(turns // 2, 4 * users))
        firsts = [turn.first_sound for turn in held]
        alone = alone or ms(firsts)
        underrun = ms([turn.underrun for turn in held], 95)
        row = ms(firsts), ms(firsts, 95), ms(firsts, 95) / alone, underrun
        table.add_row(str(users), f"{row[0]:.0f}", f"{row[1]:.0f}", f"{row[2]:.2f}", f"{row[3]:.0f}")
    console.print(table)


def lengths(console: Console, client: Client, rounds: int = 12) -> None:
    """The first sound of a short and of a long text."""
    texts = {len(text.split()): text for text in (TEN_WORDS, SIXTY_WORDS)}
    firsts: dict[int, list[float]] = {words: [] for words in texts}
    wholes: dict[int, list[float]] = {words: [] for words in texts}
    for _ in range(rounds):
        for words, text in texts.items():
            firsts[words].append(listen(chunk.speech for chunk in client.speak_stream(text)).first_sound)
            wholes[words].append(listen(client.speak(text) for _ in range(1)).first_sound)
    table = Table("words", "first sound ms (speak_stream)", "whole ms (tts)")
    for words in texts:
        table.add_row(str(words), f"{ms(firsts[words]):.0f}", f"{ms(wholes[words]):.0f}")
    short, long = (statistics.median(times) for times in firsts.values())
    table.add_row("ratio", f"{long / short:.2f}", f"{ms(wholes[max(texts)]) / ms(wholes[min(texts)]):.2f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
