"""What the models will take of a GPU, added up before they are loaded. Sizes are bytes.

    weights      what the checkpoint's safetensors files say, in the numbers that are served
    cache        memory that a model takes when it loads: keys and values of answers in progress, of graphs' windows
    requests     what its largest batch takes for the time being
    context      CUDA's own, and cuBLAS', in each process; its graphs

The constants were measured on one card (docs/gpu.md); what the models really take differs with the libraries.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tritone import checkpoints
from tritone.server.repository import CannotStart, Model

GIB = 2**30
CONTEXT = int(0.6 * GIB)
ASKING = GIB // 2  # a bare context
ASK = f"import json; from {__name__} import shown; print(json.dumps(shown()))"
ANSWERS_WITHIN_S = 120
GRAPHS = GIB // 2  # CUDA's, of a model that has any: as in `tritone.language.budget`, and not measured
HELD = 4  # windows that Whisper's graphs have room for: `speech.listening.whisper_steps.ROWS`, as a test holds
SMALL = GIB // 2  # what a batch of an encoder takes
# Of one number of latents in a step of Stable Diffusion's UNet, and of one pixel that its autoencoder decodes, for each
# channel of their widest maps (320 and 128 in Stable Diffusion 1.5).
A_LATENT, A_PIXEL = 16, 16
HALF = 2  # bytes of a float16
# Of a weight; nf4 with its scales. All others: HALF. A model without a `dtype`, such as a voice, is read into float32.
BYTES = {"int8": 1.0, "fp8": 1.0, "nf4": 0.6, "float32": 4.0}
# Folders of a diffusers checkpoint that each model loads; other checkpoints are loaded as a whole.
PARTS = {
    "sd_text_encoder": ("text_encoder",),
    "sd_unet": ("unet",),
    "sd_vae_decoder": ("vae", "safety_checker"),
    "sd_vae_encoder": ("vae",),
}


@dataclass(frozen=True)
class Need:
    """What one process of a model takes of a GPU."""

    model: str
    weights: int
    cache: int = 0
    requests: int = SMALL
    context: int = CONTEXT
    fills: float = 0.0  # share of the card that weights and cache fill up to, where the cache takes what there is

    @property
    def idle(self) -> int:
        """Without any request; at least."""
        return self.weights + self.cache + self.context

    @property
    def most(self) -> int:
        """With the largest that it takes; at least."""
        return self.idle + self.requests

    def on(self, size: int) -> Need:
        """The same on a card of so many bytes."""
        return replace(self, cache=max(self.cache, int(self.fills * size) - self.weights))


def needs(models: Sequence[Model]) -> list[Need]:
    """Those of the models that run on a GPU and have a checkpoint; the largest first.

    Raises: MissingCheckpoint.
    """
    named = {model.name: model for model in models}
    found = [_need(model, named) for model in models if model.checkpoint and model.on_gpu]
    return sorted(found, key=lambda need: -need.most)


def check(models: Sequence[Model], free: Mapping[int, int] | None = None) -> str:
    """Compare the free memory of each GPU with what the models take; returns a warning, or "" where there is plenty.

    `free` is the GPUs' by number; None asks CUDA. Each is held against all that Triton starts there: a model's `count`
    of processes, on every GPU unless its `gpus` say otherwise.
    Raises: CannotStart: they would not even load.
    """
    named, wanted = {model.name: model for model in models}, needs(models)
    warning = ""
    for gpu, size in sorted((free_memory() if free is None else free).items()) if wanted else ():
        here = [need.on(size) for need in wanted for _ in range(named[need.model].processes_on(gpu))]
        has = f"GPU {gpu} has {size / GIB:.1f} GiB free"
        remedy = "start fewer with --models, give llava fewer slots or a quantization, or sd_vae_decoder slicing"
        if (least := sum(need.idle for need in here)) > size:
            raise CannotStart(f"{has}, and these models take {least / GIB:.1f} GiB ({_sums(here)}): {remedy}")
        if not warning and (most := sum(need.most for need in here)) > size:
            warning = f"{has}; with their largest requests all at once these models take {most / GIB:.1f} GiB: {remedy}"
    return warning


def free_memory() -> dict[int, int]:
    """What is free on each GPU that CUDA shows this process, by CUDA's number; nothing where it does not answer.

    CUDA_VISIBLE_DEVICES chooses and orders them, by index or UUID, and GPU 0 is the first of those; of a card in slices
    (MIG) one shows, with the slice's memory. So CUDA itself is asked, which reads that variable in ways of its own; in
    another process, as asking opens a context on each, and as a driver may hang.
    """
    try:
        asked = subprocess.run(  # noqa: S603
            [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, check=True
        )
        return dict(enumerate(json.loads(asked.stdout)))
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def shown() -> list[int]:
    """What is free on each GPU that torch counts here, and the context that this opens on it, which goes again."""
    import torch  # heavy, and of use to another process alone

    memory = [torch.cuda.mem_get_info(gpu) for gpu in range(torch.cuda.device_count())]
    return [min(free + ASKING, total) for free, total in memory]


def _sums(wanted: Sequence[Need]) -> str:
    return ", ".join(f"{need.model} {need.idle / GIB:.1f}" for need in wanted)


def _need(model: Model, models: Mapping[str, Model]) -> Need:
    folder = checkpoints.path(str(model.checkpoint))
    number = BYTES.get(model.parameter("quantization"), BYTES.get(model.parameter("dtype") or "float32", float(HALF)))
    weights = int(number * sum(parameters(folder / part) for part in PARTS.get(model.name, ("",))))
    config = _json(folder / "config.json")
    context = CONTEXT + GRAPHS * (model.parameter("cuda_graphs") == "true")
    if "text_config" in config and "vision_config" in config and model.number("max_length"):
        fills = 0.0 if model.number("slots") else 1 - float(model.parameter("memory_reserve") or 0)
        return Need(model.name, weights, *_llava(config["text_config"], model), context, fills)
    if config.get("model_type") == "whisper":
        held = HELD * _window(config) if context > CONTEXT else 0
        return Need(model.name, weights, held, _whisper(config, int(model.config.max_batch_size)), context)
    if model.name in ("sd_unet", "sd_vae_decoder", "sd_vae_encoder"):
        return Need(model.name, weights, requests=_diffusion(model.name, folder, models), context=context)
    return Need(model.name, weights)


def _llava(text: Mapping[str, Any], model: Model) -> tuple[int, int]:
    """Cache of all slots, one where `slots` is 0 (as many as fit); and what a stretch of prompts takes."""
    slots = model.number("slots") or 1
    heads = text["num_attention_heads"]
    width = text.get("head_dim") or text["hidden_size"] // heads
    token = 2 * HALF * text["num_hidden_layers"] * text.get("num_key_value_heads", heads) * width
    layer = 3 * HALF * text["intermediate_size"]  # of a token: gate, up and their product
    return slots * model.number("max_length") * token, slots * model.number("prefill_chunk") * layer + SMALL


def _whisper(config: Mapping[str, Any], windows: int) -> int:
    """Keys and values of what was heard, twice while finished windows are taken out, and of the texts."""
    return windows * (_window(config) + _place(config) * int(config["max_source_positions"]))


def _window(config: Mapping[str, Any]) -> int:
    """Keys and values of what is heard and said in a window."""
    return _place(config) * int(config["max_source_positions"] + config["max_target_positions"])


def _place(config: Mapping[str, Any]) -> int:
    return 2 * HALF * int(config["decoder_layers"] * config["d_model"])


def _diffusion(name: str, folder: Path, models: Mapping[str, Model]) -> int:
    """What the pipeline's largest call takes: see `tritone.drawing.call_joining`."""
    pipeline = models.get("stable_diffusion")
    if pipeline is None or not pipeline.number("max_values"):
        return 2 * GIB
    values, side = pipeline.number("max_values"), pipeline.number("max_side")
    vae = _json(folder / "vae" / "config.json")
    if name == "sd_unet":
        return int(values * A_LATENT * _json(folder / "unet" / "config.json")["block_out_channels"][0])
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    together = min(values // vae["latent_channels"] * factor**2, pipeline.number("max_pictures") * side**2)
    pixels = side**2 if models[name].parameter("slicing") == "true" else max(together, side**2)
    return int(pixels * A_PIXEL * vae["block_out_channels"][0])


def parameters(folder: Path) -> int:
    """How many numbers the weights in a folder have, without reading them; 0 where there are none.

    Of several safetensors files those that an index names; else the one with the usual name, or all. Coqui's and other
    files count as float32.
    """
    files = sorted(folder.glob("*.safetensors"))
    for index in folder.glob("*.safetensors.index.json"):
        files = [folder / name for name in sorted(set(_json(index)["weight_map"].values()))]
    usual = [file for file in files if file.name in ("model.safetensors", "diffusion_pytorch_model.safetensors")]
    if files:
        return sum(map(_numbers, usual or files))
    return sum(file.stat().st_size // 4 for file in folder.glob("*.pth"))


def _numbers(file: Path) -> int:
    with safe_open(file, framework="numpy") as opened:
        return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
