"""Four layers of LLaVA-1.5-7B from a folder, as the server loads them, in float16, int8 and nf4."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from gpu.llava import EOS, answers, config, prompt
from gpu.measuring import GIB, Card, Report, cudnn_attention
from tritone.language.llava import Capacity, Limits, Llava, Loading

PART = "quantised"
LAYERS = 4
PROCESSOR = Path(__file__).parents[2] / "checkpoints" / "tiny" / "llava"


def run(card: Card, report: Report) -> None:
    """Each by itself; a processor has float16's place alone."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "llava"
        model = card.made(LlavaForConditionalGeneration, config(card, LAYERS))
        model.generation_config.eos_token_id = EOS
        model.save_pretrained(folder)
        LlavaProcessor.from_pretrained(PROCESSOR).save_pretrained(folder)
        del model
        for quantization in ("none", "int8", "nf4") if card.is_gpu else ("none",):
            card.forget()
            _one(card, report, folder, quantization)


def _one(card: Card, report: Report, folder: Path, quantization: str) -> None:
    limits = Limits(2000, 4, 2**20, 10**6, 64)
    llava = Llava.load(folder, card.device, limits, Loading(quantization=quantization), Capacity(8, 256))
    decoder = llava.engine.decoder
    with torch.inference_mode(), cudnn_attention(False):
        for rows in (1, 8):
            took = card.milliseconds(lambda _, rows=rows: decoder.decode([5] * rows, [40] * rows, [""] * rows))
            report.add(PART, **{f"{quantization}: step of {rows} rows, ms": took})
    asked = [prompt(decoder.model, 9 + n, False, 16, n) for n in range(8)]
    alone = [answers(llava.engine, [each])[0] for each in asked]
    equal = sum(one == other for one, other in zip(alone, answers(llava.engine, asked), strict=True))
    size = decoder.model.get_memory_footprint() / GIB
    report.add(PART, **{f"{quantization}: same alone and in the crowd": f"{equal} of 8", f"{quantization}: GiB": size})
    llava.close()
