"""Stable Diffusion 1.5's shape with random weights: the UNet's step, decoding, and every scheduler on the card."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from gpu.measuring import Card, Report, cudnn_attention
from tritone.cuda_graphs import Graphed
from tritone.drawing.stable_diffusion import SCHEDULERS, Checkpoint, Decoded, Job, Networks, Posterior, denoise

PART = "diffusion"
SCHEDULE = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "clip_sample": False, "steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True,
}  # fmt: skip


def run(card: Card, report: Report) -> None:
    """All of it."""
    torch.manual_seed(0)
    unet, vae = _unet(card), _vae(card)
    with torch.inference_mode():
        for side, counts in ((8, (2,)),) if card.small else ((64, (2, 8, 32)), (128, (2, 8))):
            for rows in counts:
                _step(card, report, unet, rows, side)
        for side, count in ((8, 1),) if card.small else ((64, 1), (64, 8), (128, 1), (128, 8)):
            _decode(card, report, vae, count, side)
        _schedulers(card, report, unet, vae)
    del unet, vae
    card.forget()


def _unet(card: Card) -> Any:
    blocks = (32, 64, 64, 64) if card.small else (320, 640, 1280, 1280)
    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    unet: Any = UNet2DConditionModel(
        sample_size=64, block_out_channels=blocks, down_block_types=down, up_block_types=up, cross_attention_dim=768,
        attention_head_dim=8,
    )  # fmt: skip
    return unet.eval().to(card.device, card.dtype)


def _vae(card: Card) -> Any:
    blocks = (32, 32, 64, 64) if card.small else (128, 256, 512, 512)
    vae: Any = AutoencoderKL(
        block_out_channels=blocks, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
    )  # fmt: skip
    return vae.eval().to(card.device, card.dtype)


def _step(card: Card, report: Report, unet: Any, rows: int, side: int) -> None:
    numbers = {"device": card.device, "dtype": card.dtype}
    latents, states = torch.randn(rows, 4, side, side, **numbers), torch.randn(rows, 77, 768, **numbers)
    timestep = torch.full((rows,), 500.0, device=card.device)

    def step(_: int = 0) -> object:
        return unet(latents, timestep, states, return_dict=False)[0]

    name = f"step of {rows} rows, {8 * side}²"
    for allowed in (False, True):
        with cudnn_attention(allowed):
            report.add(PART, **{f"{name}, ms" + " with cuDNN's attention" * allowed: card.milliseconds(step, 5)})
    given = latents, timestep, states
    with cudnn_attention(False):
        graphed = Graphed(lambda *tensors: unet(*tensors, return_dict=False)[0], [given], card.capture())
        report.must(PART, f"{name}: a graph computes the same ({graphed.without or 'it does'})", len(graphed) == 1)
        report.add(PART, **{f"{name}, as a CUDA graph, ms": card.milliseconds(lambda _: graphed(*given), 5)})


def _decode(card: Card, report: Report, vae: Any, count: int, side: int) -> None:
    card.forget()
    latents = torch.randn(count, 4, side, side, device=card.device, dtype=card.dtype)
    name = f"decoding {count} of {8 * side}²"
    try:
        report.add(PART, **{f"{name}, ms": card.milliseconds(lambda _: vae.decode(latents, return_dict=False), 3, 1)})
    except torch.OutOfMemoryError:
        report.add(PART, **{name: "out of memory"})
    report.add(PART, **{f"{name}, {key}": size for key, size in card.memory().items()})


def _schedulers(card: Card, report: Report, unet: Any, vae: Any) -> None:
    """Seven schedulers × text, image to image and inpainting: all values are finite."""
    side = 64 if card.small else 256
    checkpoint = Checkpoint(SCHEDULE, 4, 4, 8, 0.18215, side)
    networks = _networks(card, unet, vae)
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    kinds: dict[str, dict[str, Any]] = {
        "text": {}, "image to image": {"image": picture}, "inpainting": {"image": picture, "mask": picture}
    }  # fmt: skip

    async def last(job: Job) -> torch.Tensor:
        return [step.latents async for step in denoise(job, checkpoint, networks)][-1]

    for kind, extra in kinds.items():
        wrong = [
            name
            for name in SCHEDULERS
            if not torch.isfinite(asyncio.run(last(Job("a", "", side, side, 4, 7.5, (1,), name, **extra)))).all()
        ]
        report.must(PART, f"{kind}: finite with all schedulers", not wrong)


def _networks(card: Card, unet: Any, vae: Any) -> Networks:
    embeds = torch.randn(2, 77, 768, device=card.device)

    async def encode_prompt(_: list[str]) -> torch.Tensor:
        return embeds

    async def predict_noise(
        latents: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, steps_left: int
    ) -> torch.Tensor:
        noise: torch.Tensor = unet(latents.to(card.dtype), timestep, states.to(card.dtype), return_dict=False)[0]
        return noise.float()

    async def decode_latents(latents: torch.Tensor) -> Decoded:
        raise NotImplementedError("nothing is decoded here")

    async def encode_image(pixels: torch.Tensor) -> Posterior:
        found = vae.encode(pixels.to(card.device, card.dtype)).latent_dist
        return Posterior(found.mean.float(), found.std.float())

    return Networks(encode_prompt, predict_noise, decode_latents, encode_image, card.device)
