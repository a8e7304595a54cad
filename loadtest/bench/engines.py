"""The two engines of `llava` side by side, in the environment that `make vllm` makes.

    .venv-vllm/bin/python loadtest/bench/engines.py

The same prompts (a picture and a question), every answer exactly TOKENS long, greedy; the sides take turns, so that a
machine whose speed drifts slows both. Prompts and pictures count as time, not as tokens. The first tokens are of the
answers that are asked for together.
"""

import asyncio
import dataclasses
import statistics
import time
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
from tritone.language.checkpoint import Checkpoint
from tritone.language.decoder import Decoder
from tritone.language.engine import Engine
from tritone.language.llava import Capacity, Limits, Llava, Loading
from tritone.language.token_stream import AnyEngine, Prompt
from tritone.language.vllm import loading as vllm
from tritone.media.image import encode_png
from tritone.vision.shapes import draw_scene, render

CROWDS = (1, 8, 16)
TOKENS = 64
QUESTION = "Describe the picture."
LIMITS = Limits(max_characters=1000, max_pictures=1, max_image_bytes=2**20, max_pixels=10**6, max_tokens=TOKENS)
CAPACITY = Capacity(slots=max(CROWDS), prefill_chunk=256)


def engines() -> tuple[dict[str, AnyEngine], list[list[Prompt]]]:
    """Both engines, whose answers no token ends; and for each round other pictures, so that no cache knows them."""
    checkpoint = dataclasses.replace(Checkpoint.read(checkpoints.path("llava")), eos=frozenset())
    model = LlavaForConditionalGeneration.from_pretrained(checkpoint.folder, dtype=torch.float32).eval()
    ours = Engine(Decoder(model, Adapters(), CAPACITY.slots), eos=(), prefill_chunk=CAPACITY.prefill_chunk)
    theirs, _ = vllm.load(checkpoint, "cpu", LIMITS.max_pictures, Loading(engine="vllm"), CAPACITY)
    llava = Llava(checkpoint, ours, Adapters(), LIMITS)
    random = Random(0)

    def prompts() -> list[Prompt]:
        drawn = [encode_png(np.asarray(render(draw_scene(random, count=3), 128))) for _ in range(CAPACITY.slots)]
        return [llava.prepare(QUESTION, [picture]).prompt for picture in drawn]

    return {"torch": ours, "vllm": theirs}, [prompts() for _ in range(4)]


def answer(engine: AnyEngine, prompts: list[Prompt]) -> tuple[float, float, list[list[int]]]:
    """Seconds in all, median seconds to the first token, and the tokens."""

    async def one(prompt: Prompt) -> tuple[float, list[int]]:
        started, first, ids = time.perf_counter(), 0.0, list[int]()
        with engine.submit(prompt) as given:
            async for tokens in given:
                first = first or time.perf_counter() - started
                ids += tokens.ids
        return first, ids

    async def run() -> list[tuple[float, list[int]]]:
        return await asyncio.gather(*map(one, prompts))

    started = time.perf_counter()
    firsts, ids = zip(*asyncio.run(run()), strict=True)
    return time.perf_counter() - started, statistics.median(firsts), list(ids)


def main(rounds: int = 7) -> None:
    """Print the table, and how many answers are the same in both."""
    console = Console()
    sides, prompts = engines()
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {(name, n): [] for name in sides for n in CROWDS}
    same = asked = 0
    for number in track(range(rounds + 1), "rounds", console=console, transient=True):
        for crowd in CROWDS:
            said = {}
            for name, engine in sides.items():
                seconds, first, said[name] = answer(engine, prompts[number % len(prompts)][:crowd])
                assert [len(ids) for ids in said[name]] == [TOKENS] * crowd
                taken[name, crowd].append((seconds, first))
            same += sum(one == other for one, other in zip(*said.values(), strict=True))
            asked += crowd
    table = Table("at once", "torch, tokens/s", "vllm, tokens/s", "ratio", "torch, first token, ms", "vllm, ms")
    for crowd in CROWDS:
        medians = [[statistics.median(column) for column in zip(*taken[n, crowd][1:], strict=True)] for n in sides]
        (ours, our_first), (theirs, their_first) = medians
        speeds = [TOKENS * crowd / seconds for seconds in (ours, theirs)]
        table.add_row(
            *(str(crowd), f"{speeds[0]:.0f}", f"{speeds[1]:.0f}", f"{speeds[1] / speeds[0]:.2f}"),
            *(f"{1000 * our_first:.0f}", f"{1000 * their_first:.0f}"),
        )
    console.print(table)
    console.print(f"{same} of {asked} answers have the same {TOKENS} tokens in both")
    for engine in sides.values():
        engine.close()


if __name__ == "__main__":
    typer.run(main)
