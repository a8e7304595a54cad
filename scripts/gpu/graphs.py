"""LLaVA-1.5-7B's decoding step as a CUDA graph against the same step without: equal, how fast, and who is harmed."""

from __future__ import annotations

import time

import torch
from transformers import LlavaForConditionalGeneration

from gpu.copies import copy_rate
from gpu.llava import EOS, answers, config, prompt
from gpu.measuring import Card, Report, cudnn_attention
from tritone.language.adapters import Adapters
from tritone.language.choosing.sampling import Sampler, Sampling, choose
from tritone.language.decoder import Decoder
from tritone.language.engine import Engine

PART = "graphs"


def run(card: Card, report: Report) -> None:
    """All of it: first without graphs, then with them, over the same cache."""
    model = card.made(LlavaForConditionalGeneration, config(card))
    slots, length, context = (4, 512, 40) if card.small else (32, 1024, 600)
    decoder = Decoder(model, Adapters(), slots, length, capture=card.capture())
    sizes = [rows for rows in (1, 3, 8, 32) if rows <= slots]
    with torch.inference_mode(), cudnn_attention(False):
        plain = {rows: _step(card, report, decoder, rows, context, "without graphs") for rows in sizes}
        _prepare(card, report, decoder)
        for rows in sizes:
            found = _step(card, report, decoder, rows, context, "as a graph")
            error = float((found - plain[rows]).norm() / plain[rows].norm())
            report.add(PART, **{f"{rows} rows, relative error of the logits": error})
            report.must(PART, f"{rows} rows: logits are those without graphs", error < 0.01)
        _neighbours(report, decoder, context)
        _crowd(card, report, decoder)
    del model, decoder
    card.forget()


def _prepare(card: Card, report: Report, decoder: Decoder) -> None:
    before, started = card.memory(), time.monotonic()
    decoder.prepare()
    card.wait()
    report.add(PART, **{"graphs": len(decoder.graphs), "capturing all, s": time.monotonic() - started})
    report.add(PART, **{f"graphs, {name}": size - before[name] for name, size in card.memory().items()})
    report.must(PART, f"steps can be captured ({decoder.graphs.without or 'they are'})", len(decoder.graphs) > 0)


def _fill(decoder: Decoder, context: int) -> None:
    """Every slot gets a random prompt of so many tokens."""
    for slot in range(decoder.cache.slots):
        ids = prompt(decoder.model, context, False, 1, slot).input_ids
        decoder.prefill(slot, [0], [decoder.embed(ids, None, "")], [""])


def _step(card: Card, report: Report, decoder: Decoder, rows: int, context: int, how: str) -> torch.Tensor:
    """Logits of a step, and what such steps take with the choice of the tokens, rows apart and growing."""
    _fill(decoder, context)
    names, apart = [""] * rows, [3 * row for row in range(rows)]
    logits = decoder.decode([5] * rows, [context - each for each in apart], names).clone()
    greedy = [Sampler(Sampling(), torch.tensor([1]), decoder.vocabulary, decoder.device) for _ in range(rows)]

    def step(number: int = 0) -> object:
        return choose(decoder.decode([5] * rows, [context + number - each for each in apart], names), greedy)

    took = card.milliseconds(step)
    weights = sum(each.nbytes for each in decoder.model.model.language_model.parameters())
    read = weights + decoder.cache.nbytes * rows * context // (decoder.cache.slots * decoder.cache.length)
    name = f"{rows} rows at {context} {how}"
    report.add(PART, **{f"{name}, ms": took, f"{name}, tokens/s": 1000 * rows / took})
    report.add(PART, **{f"{name}, % of the memory's limit": 100_000 * read / copy_rate(card) / took})
    if card.is_gpu:
        waits = card.waits(step)
        report.add(PART, **{f"{name}, host waits": waits})
        report.must(PART, f"{name}: the host waits once", waits == 1)
    return logits


def _neighbours(report: Report, decoder: Decoder, context: int) -> None:
    """Three rows decode in a graph of four: the fourth slot's prompt is being read."""
    _fill(decoder, context)
    layers = decoder.cache._layers
    before = [layer[:, 3, :, : decoder.cache.spare].clone() for layer in layers]
    decoder.decode([5, 6, 7], [context, context - 1, context - 2], [""] * 3)
    same = all(torch.equal(layer[:, 3, :, :-1], old) for layer, old in zip(layers, before, strict=True))
    report.must(PART, "a neighbour's keys and values are the same to the bit", same)


def _crowd(card: Card, report: Report, decoder: Decoder) -> None:
    engine, tokens = Engine(decoder, [EOS], max_queue=128), 8 if card.small else 64
    many = [prompt(decoder.model, 20 + 9 * n, n % 2 == 0, tokens, n) for n in range(6 if card.small else 48)]
    alone = [answers(engine, [each])[0] for each in many[:6]]
    started = time.monotonic()
    together = answers(engine, many)
    rate = sum(map(len, together)) / (time.monotonic() - started)
    equal = sum(one == other for one, other in zip(alone, together, strict=False))
    engine.close()
    report.add(PART, **{"crowd, tokens/s": rate, "same alone and in the crowd": f"{equal} of {len(alone)}"})
