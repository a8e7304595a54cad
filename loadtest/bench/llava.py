"""Continuous batching of `llava`, against transformers' `generate` on the same checkpoint, in ratios of one run.

    python loadtest/bench/llava.py

In this process: the engine against `generate`, alone and eight at a time, and eight answers that a grammar holds to
JSON against eight free ones; every answer exactly TOKENS long; the sides take turns, so that a machine whose speed
drifts slows both. Over the server: descriptions, streamed and in one
response, at concurrency 1 and 8. Tokens/s count prompts and pictures as time, not as tokens.
"""

import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import LlavaForConditionalGeneration

from tritone import checkpoints
from tritone.language.adapters import Adapters
from tritone.language.decoder import Decoder
from tritone.language.engine import Engine
from tritone.language.llava import Limits, Llava
from tritone.language.token_stream import Prompt
from tritone.media.image import encode_png
from tritone.server.background import serve
from tritone.vision.shapes import draw_scene, render
from tritone_client import Client

CROWD = 8
TOKENS = 64  # of each answer in this process
QUESTION = "Describe the picture."
# JSON that is not whole within TOKENS.
THING = {"type": "object", "properties": {"colour": {"type": "string"}, "count": {"type": "integer"}}}
THINGS = {"type": "array", "minItems": TOKENS, "items": {**THING, "required": ["colour", "count"]}}
RESPONSE_FORMAT = json.dumps({"type": "json_schema", "json_schema": {"name": "things", "schema": THINGS}})
LIMITS = Limits(max_characters=1000, max_pictures=1, max_image_bytes=2**20, max_pixels=10**6, max_tokens=TOKENS)


def pictures(count: int) -> list[bytes]:
    """Drawn scenes of three things, so that descriptions are long."""
    random = Random(0)
    return [encode_png(np.asarray(render(draw_scene(random, count=3), 128))) for _ in range(count)]


# ---- in this process


class InProcess:
    """One model, asked by `generate` and by an engine that no token stops."""

    def __init__(self) -> None:
        folder = checkpoints.path("llava")
        self.model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        llava = Llava.load(folder, "cpu", LIMITS)
        shown = pictures(CROWD)
        self.prompts = [llava.prepare(QUESTION, [picture]).prompt for picture in shown]
        self.held = [llava.prepare(QUESTION, [picture], response_format=RESPONSE_FORMAT).prompt for picture in shown]
        llava.close()
        self.engine = Engine(Decoder(self.model, Adapters(), CROWD), eos=(), prefill_chunk=256)

    def generate(self, prompts: list[Prompt]) -> list[list[int]]:
        """transformers, one static batch; all prompts have one length."""
        input_ids = torch.stack([prompt.input_ids for prompt in prompts])
        pixels = torch.cat([prompt.pixel_values for prompt in prompts if prompt.pixel_values is not None])
        with torch.inference_mode():
            tokens = self.model.generate(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                pixel_values=pixels,
                do_sample=False,
                min_new_tokens=TOKENS,
                max_new_tokens=TOKENS,
            )
        return [row.tolist() for row in tokens[:, input_ids.shape[1] :]]

    def answer(self, prompts: list[Prompt]) -> list[list[int]]:
        """The engine, all prompts at once."""

        async def one(prompt: Prompt) -> list[int]:
            ids: list[int] = []
            with self.engine.submit(prompt) as answer:
                async for tokens in answer:
                    ids += tokens.ids
            return ids

        async def run() -> list[list[int]]:
            return await asyncio.gather(*map(one, prompts))

        return asyncio.run(run())

    def measure(self, rounds: int, console: Console) -> dict[str, float]:
        """Tokens/s, medians of rounds."""
        one, crowd = self.prompts[:1], self.prompts
        sides: dict[str, tuple[Callable[[list[Prompt]], list[list[int]]], list[Prompt]]] = {
            "generate, 1": (self.generate, one),
            "engine, 1": (self.answer, one),
            f"generate, batch of {CROWD}": (self.generate, crowd),
            f"engine, {CROWD} at once": (self.answer, crowd),
            f"engine, {CROWD} at once, JSON": (self.answer, self.held),
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in track(range(rounds + 1), "in this process", console=console, transient=True):
            for name, (side, prompts) in sides.items():
                started = time.perf_counter()
                assert [len(tokens) for tokens in side(prompts)] == [TOKENS] * len(prompts)
                times[name].append(time.perf_counter() - started)
        return {name: TOKENS * len(sides[name][1]) / statistics.median(taken[1:]) for name, taken in times.items()}


# ---- over the server


Answers = list[tuple[float, int, int]]  # of each: seconds to the first token, tokens, responses


@dataclass
class Load:
    """What users saw during one spell."""

    tokens_per_s: float
    first_token_s: float  # median
    tokens_per_response: float


def streamed(client: Client, picture: bytes) -> tuple[float, int, int]:
    """One description, token by token."""
    started, first, responses, tokens = time.perf_counter(), 0.0, 0, 0
    for chunk in client.ask_stream(QUESTION, picture):
        first = first or time.perf_counter() - started
        responses, tokens = responses + 1, chunk.completion_tokens
    return first, tokens, responses


def whole(client: Client, picture: bytes) -> tuple[float, int, int]:
    """One description in one response."""
    started = time.perf_counter()
    tokens = client.ask(QUESTION, picture).completion_tokens
    return time.perf_counter() - started, tokens, 1


DOORS = {"streamed": streamed, "unary": whole}


def spell(client: Client, door: str, users: int, seconds: float) -> Load:
    """`users` who each ask for one description after the other."""
    shown = pictures(32)
    deadline = time.perf_counter() + seconds
    answers: Answers = []

    def user(number: int) -> None:
        random = Random(number)
        while time.perf_counter() < deadline:
            answers.append(DOORS[door](client, random.choice(shown)))

    threads = [threading.Thread(target=user, args=(number,)) for number in range(users)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    firsts, tokens, responses = zip(*answers, strict=True)
    taken = time.perf_counter() - started
    return Load(sum(tokens) / taken, statistics.median(firsts), sum(tokens) / sum(responses))


def served(rounds: int, seconds: float, console: Console) -> dict[tuple[str, int], Load]:
    """Medians of both doors at concurrency 1 and CROWD, which take turns."""
    loads: dict[tuple[str, int], list[Load]] = {(door, users): [] for door in DOORS for users in (1, CROWD)}
    options = ("--device=cpu", "--models=llava_answer")
    with serve(*options, report=lambda _: None) as address, Client(address.grpc) as client:
        for door in DOORS:
            spell(client, door, CROWD, 1)
        for _ in track(range(rounds), "over the server", console=console, transient=True):
            for (door, users), some in loads.items():
                some.append(spell(client, door, users, seconds))
    return {
        side: Load(*(statistics.median(getattr(load, key) for load in some) for key in vars(some[0])))
        for side, some in loads.items()
    }


def main(rounds: int = 7, seconds: float = 5.0) -> None:
    """Print both tables."""
    console = Console()
    console.print(table_of_speeds(InProcess().measure(rounds, console), rounds))
    console.print(table_of_loads(served(rounds, seconds, console)))


def table_of_speeds(speeds: dict[str, float], rounds: int) -> Table:
    """Tokens/s in this process, each against another of the same run."""
    alone, batch, crowd = (
        speeds["generate, 1"],
        speeds[f"generate, batch of {CROWD}"],
        speeds[f"engine, {CROWD} at once"],
    )
    table = Table(
        "in this process", "tokens/s", "against", "ratio", title=f"answers of {TOKENS} tokens, {rounds} rounds"
    )
    table.add_row("generate, 1", f"{alone:.0f}")
    table.add_row("engine, 1", f"{speeds['engine, 1']:.0f}", "generate, 1", f"{speeds['engine, 1'] / alone:.2f}")
    table.add_row(f"generate, batch of {CROWD}", f"{batch:.0f}", "generate, 1", f"{batch / alone:.2f}")
    table.add_row(f"engine, {CROWD} at once", f"{crowd:.0f}", f"generate, batch of {CROWD}", f"{crowd / batch:.2f}")
    table.add_row("", "", "engine, 1", f"{crowd / speeds['engine, 1']:.2f}")
    held = f"engine, {CROWD} at once, JSON"
    table.add_row(held, f"{speeds[held]:.0f}", f"engine, {CROWD} at once", f"{speeds[held] / crowd:.2f}")
    return table


def table_of_loads(loads: dict[tuple[str, int], Load]) -> Table:
    """What users saw, and CROWD of them against one."""
    table = Table("over the server", "users", "tokens/s", "ratio", "first token, ms", "tokens a response")
    for (door, users), load in loads.items():
        ratio = "" if users == 1 else f"{load.tokens_per_s / loads[door, 1].tokens_per_s:.2f}"
        first, together = f"{1000 * load.first_token_s:.1f}", f"{load.tokens_per_response:.2f}"
        table.add_row(door, str(users), f"{load.tokens_per_s:.0f}", ratio, first, together)
    return table


if __name__ == "__main__":
    typer.run(main)
