"""Stable Diffusion's denoising loop, once, as the numbered steps of diffusers' pipelines.

The networks are three asynchronous callables (`Networks`): the server's pipeline calls other models, a test calls
modules of its own process. Text to image, image to image and inpainting; the schedulers are diffusers' classes with
the checkpoint's own configuration. Each picture equals what the diffusers pipeline makes of the same seed
(`generator=torch.Generator("cpu").manual_seed(seed)`), alone or beside others. This module knows no network, no
batching across users and no Triton. Steps: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion*.py.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from numpy.typing import NDArray
from PIL import Image

from tritone.errors import InvalidInput, NotServed

SCHEDULERS: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler_a": EulerAncestralDiscreteScheduler,
    "dpmpp_2m": DPMSolverMultistepScheduler,
    "lms": LMSDiscreteScheduler,
    "pndm": PNDMScheduler,
    "unipc": UniPCMultistepScheduler,
}
MULTIPLE = 8  # pixels; the autoencoder's own factor, and what diffusers' pipelines ask for
MAX_SEED = 2**63 - 1
# Of an autoencoder whose config.json says none, as those that diffusers wrote before 0.10: AutoencoderKL's default.
SCALING_FACTOR = 0.18215

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Limits:
    """What a request may ask for."""

    max_steps: int
    max_side: int  # pixels
    max_images: int
    max_characters: int  # of a prompt
    max_guidance_scale: float


@dataclass(frozen=True)
class Checkpoint:
    """What the loop must know of a checkpoint: numbers out of its configuration files, no weights."""

    scheduler: dict[str, Any]  # scheduler/scheduler_config.json
    unet_channels: int  # 4, or 9 for a UNet that was trained to inpaint
    latent_channels: int
    vae_scale_factor: int
    scaling_factor: float
    default_side: int  # pixels

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Read the folder of a `StableDiffusionPipeline`."""
        scheduler, unet, vae = (
            json.loads((folder / file).read_text(encoding="utf-8"))
            for file in ("scheduler/scheduler_config.json", "unet/config.json", "vae/config.json")
        )
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        return cls(
            # As the constructors of diffusers' pipelines do: latents are not limited to -1..1 as pixels are.
            scheduler={"clip_sample": False, **scheduler},
            unet_channels=unet["in_channels"],
            latent_channels=vae["latent_channels"],
            vae_scale_factor=factor,
            scaling_factor=vae.get("scaling_factor", SCALING_FACTOR),
            default_side=unet["sample_size"] * factor,
        )


@dataclass(frozen=True)
class Job:
    """Checked wishes: what `Limits` allow, every default filled in."""

    prompt: str
    negative_prompt: str
    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float
    seeds: tuple[int, ...]  # one picture each
    scheduler: str
    image: Pixels | None = None  # (h, w, 3): image to image, or what is kept around a mask
    mask: Pixels | None = None  # (h, w, 3) or (h, w): white is painted anew
    strength: float = 0.8  # of the change, 0..1

    @property
    def guided(self) -> bool:
        """Whether every step asks the UNet twice, with the prompt and with the negative prompt."""
        return self.guidance_scale > 1


@dataclass(frozen=True)
class Posterior:
    """What the autoencoder makes of a picture: a normal distribution over latents, float32 (1, channels, h, w)."""

    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class Decoded:
    """Pictures, uint8 (n, height, width, 3), and whether the safety checker objects to each, bool (n,)."""

    image: Pixels
    nsfw_content_detected: NDArray[np.bool_]


@dataclass(frozen=True)
class Networks:
    """The callables that the loop waits for. Tensors are float32, on `device`, and have a batch axis."""

    encode_prompt: Callable[[list[str]], Awaitable[torch.Tensor]]  # (n, tokens, width)
    # latents (n, channels, h, w), timestep (n,), encoder_hidden_states (n, tokens, width), and how many steps are left,
    # this one included -> noise_pred like latents
    predict_noise: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], Awaitable[torch.Tensor]]
    decode_latents: Callable[[torch.Tensor], Awaitable[Decoded]]
    encode_image: Callable[[torch.Tensor], Awaitable[Posterior]]  # pixel values (1, 3, height, width) in -1..1
    device: str = "cpu"


@dataclass(frozen=True)
class Step:
    """A denoising step was done: `step` of `num_steps`, and the latents after it."""

    step: int
    num_steps: int
    latents: torch.Tensor


def check(
    limits: Limits,
    checkpoint: Checkpoint,
    *,
    prompt: str,
    negative_prompt: str,
    height: int | None,
    width: int | None,
    num_inference_steps: int,
    guidance_scale: float,
    num_images: int,
    seed: int,
    scheduler: str,
    image: Pixels | None = None,
    mask: Pixels | None = None,
    strength: float = 0.8,
) -> Job:
    """The job, if the limits allow it. A size that is not given is the picture's, else the checkpoint's.

    Raises: InvalidInput: naming the value and the limit. NotServed: inpainting with a UNet that cannot.
    """
    for name, words in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if len(words) > limits.max_characters:
            raise InvalidInput(f"{name} has {len(words):,} characters, the limit is {limits.max_characters:,}")
    if scheduler not in SCHEDULERS:
        raise InvalidInput(f"scheduler is {scheduler[:40]!r}; it must be one of: {', '.join(SCHEDULERS)}")
    _within("num_inference_steps", num_inference_steps, 1, limits.max_steps)
    _within("num_images", num_images, 1, limits.max_images)
    _within("seed", seed, 0, MAX_SEED - limits.max_images)
    _within("guidance_scale", guidance_scale, 0, limits.max_guidance_scale)
    if mask is not None and image is None:
        raise InvalidInput("mask_bytes came without image_bytes: a mask says which part of a picture is painted anew")
    if image is None and checkpoint.unet_channels != checkpoint.latent_channels:
        raise NotServed("this checkpoint's UNet only inpaints: send image_bytes and mask_bytes")
    if image is not None and mask is None and checkpoint.unet_channels != checkpoint.latent_channels:
        raise NotServed("this checkpoint's UNet only inpaints: send mask_bytes along with image_bytes")
    if image is not None:
        _within("strength", strength, 0, 1)
        if int(num_inference_steps * strength) < 1:
            raise InvalidInput(
                f"strength {strength:g} of {num_inference_steps} num_inference_steps leaves no step to do; "
                f"it must be at least {1 / num_inference_steps:g}"
            )
    sides = [] if image is None else [side - side % MULTIPLE for side in image.shape[:2]]
    height, width = (
        given or (sides[axis] if sides else checkpoint.default_side) for axis, given in enumerate((height, width))
    )
    for name, side in (("height", height), ("width", width)):
        if side % MULTIPLE or not MULTIPLE <= side <= limits.max_side:
            raise InvalidInput(f"{name} is {side}; it must be a multiple of {MULTIPLE}, at most {limits.max_side}")
    return Job(
        prompt=prompt,
        negative_prompt=negative_prompt,
        height=height,
        width=width,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        seeds=tuple(range(seed, seed + num_images)),
        scheduler=scheduler,
        image=image,
        mask=mask,
        strength=strength,
    )


def _within(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        shown = f"{value:g}" if isinstance(value, float) else value
        raise InvalidInput(f"{name} is {shown}; it must be from {low:g} to {_number(high)}")


def _number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else str(int(value))


async def denoise(job: Job, checkpoint: Checkpoint, networks: Networks) -> AsyncIterator[Step]:
    """Yield each step of the loop; the last one's latents are the picture's, for `networks.decode_latents`."""
    # 1. and 2. of diffusers, checking and counting, are `check`.
    count, device = len(job.seeds), networks.device
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in job.seeds]

    # 3. Encode the prompts; for guidance the negative one's rows come first.
    texts = [job.negative_prompt, job.prompt] if job.guided else [job.prompt]
    prompt_embeds = (await networks.encode_prompt(texts)).to(device).repeat_interleave(count, dim=0)

    # 4. Prepare timesteps.
    scheduler = SCHEDULERS[job.scheduler].from_config(checkpoint.scheduler)
    scheduler.set_timesteps(job.num_inference_steps, device=device)
    timesteps = scheduler.timesteps
    if job.image is not None:
        done = job.num_inference_steps - min(int(job.num_inference_steps * job.strength), job.num_inference_steps)
        timesteps = timesteps[done * scheduler.order :]
        if hasattr(scheduler, "set_begin_index"):  # PNDM counts for itself
            scheduler.set_begin_index(done * scheduler.order)

    # 5. Prepare latents.
    start = await _prepare_latents(job, checkpoint, networks, scheduler, timesteps, generators)
    latents = start.latents

    # 6. Prepare extra step arguments: only schedulers with randomness take a generator.
    extra = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}

    # 7. Denoising loop.
    for index, timestep in enumerate(timesteps):
        model_input = torch.cat([latents] * 2) if job.guided else latents
        model_input = scheduler.scale_model_input(model_input, timestep)
        if start.extra_channels is not None:
            model_input = torch.cat([model_input, start.extra_channels.repeat(2 if job.guided else 1, 1, 1, 1)], dim=1)
        rows = timestep.to(torch.float32).expand(len(model_input))
        noise_pred = await networks.predict_noise(model_input, rows, prompt_embeds, len(timesteps) - index)
        if job.guided:
            unconditional, conditional = noise_pred.chunk(2)
            noise_pred = unconditional + job.guidance_scale * (conditional - unconditional)
        latents = scheduler.step(noise_pred, timestep, latents, **extra, return_dict=False)[0]
        if start.mask is not None:
            kept = start.image_latents
            if kept is not None and index < len(timesteps) - 1:
                kept = scheduler.add_noise(kept, start.noise, timesteps[index + 1 : index + 2])
            latents = (1 - start.mask) * kept + start.mask * latents  # type: ignore[operator]
        yield Step(index + 1, len(timesteps), latents)
    # 8. Decoding is `networks.decode_latents` of the last step.


@dataclass(frozen=True)
class _Start:
    """What the loop starts from."""

    latents: torch.Tensor
    noise: torch.Tensor | None = None
    image_latents: torch.Tensor | None = None
    mask: torch.Tensor | None = None  # (n, 1, h, w), where a plain UNet inpaints
    extra_channels: torch.Tensor | None = None  # mask and masked picture, for a UNet that was trained to inpaint


async def _prepare_latents(
    job: Job,
    checkpoint: Checkpoint,
    networks: Networks,
    scheduler: Any,
    timesteps: torch.Tensor,
    generators: list[torch.Generator],
) -> _Start:
    """Noise, or the given picture with noise; random numbers are drawn in the order of the diffusers pipelines."""
    factor = checkpoint.vae_scale_factor
    shape = (len(job.seeds), checkpoint.latent_channels, job.height // factor, job.width // factor)

    def draw_noise() -> torch.Tensor:
        noise: torch.Tensor = randn_tensor(shape, generators, torch.device(networks.device), torch.float32)
        return noise

    if job.image is None:
        return _Start(draw_noise() * scheduler.init_noise_sigma)
    pixel_values = _preprocess(job.image, job, checkpoint)
    first = timesteps[:1].repeat(len(job.seeds))
    plain_unet = checkpoint.unet_channels == checkpoint.latent_channels

    async def sample(values: torch.Tensor) -> torch.Tensor:
        posterior = await networks.encode_image(values)
        mean, std = posterior.mean.to(networks.device), posterior.std.to(networks.device)
        draws = [randn_tensor(mean.shape, each, mean.device, mean.dtype) for each in generators]
        return torch.cat([checkpoint.scaling_factor * (mean + std * drawn) for drawn in draws])

    if job.mask is None:
        image_latents = await sample(pixel_values)
        noise = draw_noise()
        return _Start(scheduler.add_noise(image_latents, noise, first))
    mask_values = _preprocess(job.mask, job, checkpoint, is_mask=True)
    kept = await sample(pixel_values) if plain_unet or job.strength < 1 else None
    noise = draw_noise()
    latents = noise * scheduler.init_noise_sigma if job.strength == 1 else scheduler.add_noise(kept, noise, first)
    mask = torch.nn.functional.interpolate(mask_values, size=shape[2:]).to(networks.device)
    mask = mask.repeat(len(job.seeds), 1, 1, 1)
    masked = await sample(pixel_values * (mask_values < 0.5))
    if plain_unet:
        return _Start(latents, noise, kept, mask)
    return _Start(latents, extra_channels=torch.cat([mask, masked], dim=1))


def _preprocess(picture: Pixels, job: Job, checkpoint: Checkpoint, is_mask: bool = False) -> torch.Tensor:
    """The picture as float32 (1, 3, height, width) in -1..1, or the mask as (1, 1, height, width) of 0 and 1."""
    kind = {"do_normalize": False, "do_binarize": True, "do_convert_grayscale": True} if is_mask else {}
    processor = VaeImageProcessor(vae_scale_factor=checkpoint.vae_scale_factor, **kind)
    values = processor.preprocess(Image.fromarray(picture), height=job.height, width=job.width)
    tensor: torch.Tensor = values.to(dtype=torch.float32)
    return tensor
