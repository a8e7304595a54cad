"""LLaVA-1.5-7B's shape with random weights: steps against the card's memory, a crowd, callers who leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from gpu.copies import copy_rate
from gpu.measuring import GIB, Card, Report, cudnn_attention
from tritone.language.adapters import Adapters
from tritone.language.choosing.sampling import Sampling
from tritone.language.decoder import Decoder
from tritone.language.engine import Engine
from tritone.language.token_stream import Prompt

PART = "llava"
EOS = 2
SMALL = (
    {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56,
        "patch_size": 14, "projection_dim": 16,
    },
    {
        "vocab_size": 1129, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 4096,
    },
)  # fmt: skip
TRUE = (
    {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 336, "patch_size": 14, "projection_dim": 768,
    },
    {
        "vocab_size": 32064, "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
    },
)  # fmt: skip


def config(card: Card, layers: int = 32) -> LlavaConfig:
    """llava-hf/llava-1.5-7b-hf's, with so many layers of text; a tiny one for a dry run."""
    vision, text = SMALL if card.small else (TRUE[0], TRUE[1] | {"num_hidden_layers": layers})
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**vision),
        text_config=LlamaConfig(**text),
        image_token_index=3 if card.small else 32000,
        image_seq_length=(vision["image_size"] // vision["patch_size"]) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def prompt(model: Any, words: int, picture: bool, max_tokens: int, seed: int = 0) -> Prompt:
    """Random words, with a random picture behind the fifth if so wished."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, 1000, (words,), generator=generator)
    if not picture:
        return Prompt(ids, None, 0, max_tokens, Sampling())
    side, tokens = model.config.vision_config.image_size, int(model.config.image_seq_length)
    pixels = torch.randn(1, 3, side, side, generator=generator)
    ids = torch.cat([ids[:5], torch.full((tokens,), model.config.image_token_id), ids[5:]])
    return Prompt(ids, pixels, tokens, max_tokens, Sampling())


def answers(engine: Engine, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The tokens of all prompts, asked at the same time."""

    async def one(each: Prompt) -> list[int]:
        with engine.submit(each) as answer:
            return [token async for tokens in answer for token in tokens.ids]

    async def all_of_them() -> list[list[int]]:
        return await asyncio.gather(*map(one, prompts))

    return asyncio.run(all_of_them())


def run(card: Card, report: Report) -> None:
    """All of it."""
    model = card.made(LlavaForConditionalGeneration, config(card))
    slots, length = (4, 256) if card.small else (8, 4096)
    decoder = Decoder(model, Adapters(), slots, length)
    report.add(PART, **{"cache GiB": decoder.cache.nbytes / GIB, **card.memory()})
    with torch.inference_mode():
        _steps(card, report, decoder)
        _prompts(card, report, decoder)
    engine = Engine(decoder, [EOS], max_queue=128, prefill_chunk=512)
    with cudnn_attention(False):
        _crowd(card, report, engine)
        _leave(card, report, engine)
    engine.close()
    del model, decoder, engine
    card.forget()
    report.add(PART, **{f"when it is gone, {name}": size for name, size in card.memory().items()})


def _steps(card: Card, report: Report, decoder: Decoder) -> None:
    weights = sum(each.nbytes for each in decoder.model.model.language_model.parameters())
    for rows in (1, decoder.cache.slots):
        for context in (20,) if card.small else (600, 3900):

            def step(number: int, rows: int = rows, context: int = context) -> object:
                starts = [context + number - 7 * row for row in range(rows)]  # growing and ragged, as in answers
                return decoder.decode([5] * rows, starts, [""] * rows)

            for allowed in (False, True):
                with cudnn_attention(allowed):
                    took = card.milliseconds(step)
                name = f"step of {rows} rows at {context}" + " with cuDNN's attention" * allowed
                read = weights + decoder.cache.nbytes * rows * context // (decoder.cache.slots * decoder.cache.length)
                limit = 1000 * read / copy_rate(card)
                report.add(PART, **{f"{name}, ms": took, f"{name}, % of the memory's limit": 100 * limit / took})
    one = [""] * decoder.cache.slots
    waits = card.waits(lambda: decoder.decode([5] * len(one), [20 + n for n in range(len(one))], one))
    report.add(PART, **{"host waits a step": waits})


def _prompts(card: Card, report: Report, decoder: Decoder) -> None:
    asked = prompt(decoder.model, 30, True, 4)
    embeds = decoder.embed(asked.input_ids, asked.pixel_values, "")
    picture = card.milliseconds(lambda _: decoder.embed(asked.input_ids, asked.pixel_values, ""))
    stretch = card.milliseconds(lambda _: decoder.prefill(0, [0], [embeds[:512]], [""]))
    report.add(PART, **{"a picture, ms": picture, "a stretch of 512 tokens, ms": stretch})


def _crowd(card: Card, report: Report, engine: Engine) -> None:
    model, tokens = engine.decoder.model, 8 if card.small else 64
    many = [prompt(model, 20 + 9 * n, n % 2 == 0, tokens, n) for n in range(6 if card.small else 24)]
    alone = [answers(engine, [each])[0] for each in many[:8]]
    started = time.monotonic()
    together = answers(engine, many)
    rate = sum(map(len, together)) / (time.monotonic() - started)
    equal = sum(one == other for one, other in zip(alone, together, strict=False))
    report.add(PART, **{"crowd, tokens/s": rate, "same alone and in the crowd": f"{equal} of {len(alone)}"})
    ids = many[1].input_ids[None].to(card.device)
    mask = torch.ones_like(ids)
    generated = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, eos_token_id=EOS
    )
    report.must(PART, "greedy tokens are those of generate", generated[0, ids.shape[1] :].tolist() == alone[1])


def _leave(card: Card, report: Report, engine: Engine) -> None:
    """All slots are busy with long answers whose callers leave after a few tokens."""
    before = engine.statistics.cancelled
    long = [prompt(engine.decoder.model, 20, False, 200, n) for n in range(engine.decoder.cache.slots)]

    async def glance(each: Prompt) -> None:
        with engine.submit(each) as answer:
            async for _ in answer:
                return

    async def all_of_them() -> None:
        await asyncio.gather(*map(glance, long))

    asyncio.run(all_of_them())
    left = time.monotonic()
    while engine.statistics.active and time.monotonic() - left < 10:
        time.sleep(0.001)
    report.add(PART, **{"idle after all have left, ms": 1000 * (time.monotonic() - left)})
    cancelled = engine.statistics.cancelled - before
    report.must(PART, "no slot is busy for those who left", not engine.statistics.active and cancelled == len(long))
