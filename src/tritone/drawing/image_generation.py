"""A request for pictures, from wishes to pixels: style, checks, the denoising loop, previews, decoding.

`ImageGenerator.generate` is what the pipeline model serves; its outputs are named as the tensors. It knows no
network, only callables, and no Triton.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tritone.drawing.call_joining import JoinedCalls
from tritone.drawing.diffusion_networks import PromptTokenizer
from tritone.drawing.prompts import optimise, read_styles
from tritone.drawing.stable_diffusion import (
    MULTIPLE,
    SCHEDULERS,
    Checkpoint,
    Decoded,
    Limits,
    Networks,
    Pixels,
    Posterior,
    check,
    denoise,
)
from tritone.errors import InvalidInput, TritoneError
from tritone.media.image import encode_png


@dataclass(frozen=True)
class Defaults:
    """What a request that does not say gets."""

    steps: int
    guidance_scale: float
    scheduler: str


class ImageGenerator:
    """Pictures from prompts, any number of requests at a time."""

    def __init__(
        self,
        folder: Path,
        networks: Networks,
        decode_image: Callable[[bytes], Awaitable[Pixels]],
        limits: Limits,
        defaults: Defaults,
        styles: Path | None = None,
    ) -> None:
        """Read what the loop must know of the checkpoint in `folder`.

        Args:
            decode_image: an encoded file to RGB pixels uint8 (height, width, 3).
            styles: a TOML file of the user's own styles, see `tritone.drawing.prompts`.
        """
        self.checkpoint, self.tokenizer = Checkpoint.read(folder), PromptTokenizer(folder)
        self.networks, self.decode_image = networks, decode_image
        self.limits, self.defaults = limits, defaults
        self.styles = read_styles(styles)

    def facts(self) -> dict[str, Any]:
        """What is offered, in JSON's values; sides in pixels, each a multiple of `side_multiple`."""
        return {
            **asdict(self.limits),
            "default_side": self.checkpoint.default_side,
            "side_multiple": MULTIPLE,
            "default_steps": self.defaults.steps,
            "default_scheduler": self.defaults.scheduler,
            "schedulers": list(SCHEDULERS),
            "styles": list(self.styles.styles),
        }

    async def generate(
        self,
        prompt: str,
        negative_prompt: str = "",
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images: int = 1,
        seed: int | None = None,
        scheduler: str = "",
        style: str = "",
        image_bytes: bytes | None = None,
        mask_bytes: bytes | None = None,
        strength: float = 0.8,
        preview_interval: int = 0,
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield `step` and `num_steps` after every step, with `preview_png` after every `preview_interval`; then all.

        Image i of a request has the seed `seed` + i and is the picture which that seed gives alone.

        Raises: InvalidInput: a wish over a limit, or the safety checker's objection.
        """
        if preview_interval < 0:
            raise InvalidInput(f"preview_interval is {preview_interval}; it must be 0 (no previews) or more")
        if len(prompt) <= self.limits.max_characters and style:
            optimised = optimise(prompt, negative_prompt, style, self.styles)
            prompt, negative_prompt = optimised.prompt, optimised.negative_prompt
        job = check(
            self.limits,
            self.checkpoint,
            prompt=prompt,
            negative_prompt=negative_prompt,
            height=None if height is None else int(height),
            width=None if width is None else int(width),
            num_inference_steps=self.defaults.steps if num_inference_steps is None else int(num_inference_steps),
            guidance_scale=self.defaults.guidance_scale if guidance_scale is None else _decimal(guidance_scale),
            num_images=int(num_images),
            seed=secrets.randbelow(2**32) if seed is None else int(seed),
            scheduler=scheduler or self.defaults.scheduler,
            image=None if image_bytes is None else await self.decode_image(image_bytes),
            mask=None if mask_bytes is None else await self._decode_mask(mask_bytes),
            strength=_decimal(strength),
        )
        async for progress in denoise(job, self.checkpoint, self.networks):
            latents, step = progress.latents, progress.step
            report: dict[str, Any] = {"step": step, "num_steps": progress.num_steps}
            if preview_interval and step % preview_interval == 0 and step < progress.num_steps:
                preview = await self._decode(latents)
                report["preview_png"] = lambda preview=preview: _png_files(preview)
            yield report
        image = await self._decode(latents)
        tokens, cut = self.tokenizer.count(job.prompt)
        yield {
            "image": image,
            "image_png": lambda: _png_files(image),
            "seed": list(job.seeds),
            "prompt_tokens": tokens,
            "truncated_text": cut,
        }

    async def _decode_mask(self, mask_bytes: bytes) -> Pixels:
        try:
            return await self.decode_image(mask_bytes)
        except TritoneError as error:
            raise error.renamed("image_bytes", "mask_bytes") from error

    async def _decode(self, latents: Any) -> Pixels:
        decoded: Decoded = await self.networks.decode_latents(latents)
        if decoded.nsfw_content_detected.any():
            count = int(decoded.nsfw_content_detected.sum())
            raise InvalidInput(
                f"the safety checker blocked {count} of {len(decoded.image)} images: it takes the picture for unsafe; "
                "ask for something else, or try another seed"
            )
        return decoded.image


def served_networks(
    call_rows: Callable[..., Awaitable[dict[str, torch.Tensor]]],
    device: str,
    checkpoint: Checkpoint,
    max_rows: int,
    max_pictures: int,
    max_values: int = 0,
) -> Networks:
    """The networks as models of this server, reached through `tritone.serving.bls.call_rows`.

    What all images in flight ask of a network goes to it together, as `JoinedCalls` joins it; tensors stay on `device`.

    Args:
        max_rows, max_pictures: in one call of the UNet, and of the autoencoder.
        max_values: numbers of latents in one call of either, but for a single row; 0: any.
    """

    def joined(model: str, outputs: list[str], where: str, rows: int, values: int) -> JoinedCalls:
        return JoinedCalls(lambda inputs: call_rows(model, inputs, outputs, where), rows, values)

    # So many numbers of pixels are decoded to max_values of latents.
    pixels = max_values * checkpoint.vae_scale_factor**2 * 3 // checkpoint.latent_channels
    unet = joined("sd_unet", ["noise_pred"], device, max_rows, max_values)
    decoder = joined("sd_vae_decoder", ["image", "nsfw_content_detected"], "cpu", max_pictures, max_values)
    encoder = joined("sd_vae_encoder", ["latents_mean", "latents_std"], device, max_pictures, pixels)

    async def encode_prompt(prompts: list[str]) -> torch.Tensor:
        out = await call_rows("sd_text_encoder", {"prompt": prompts}, ["prompt_embeds"], device)
        return out["prompt_embeds"]

    async def predict_noise(
        latents: torch.Tensor, timestep: torch.Tensor, states: torch.Tensor, steps_left: int
    ) -> torch.Tensor:
        rows = {"latents": latents, "timestep": timestep[:, None], "encoder_hidden_states": states}
        return (await unet(rows, steps_left))["noise_pred"]

    async def decode_latents(latents: torch.Tensor) -> Decoded:
        out = await decoder({"latents": latents})
        return Decoded(out["image"].numpy(), out["nsfw_content_detected"].numpy()[:, 0])

    async def encode_image(pixel_values: torch.Tensor) -> Posterior:
        out = await encoder({"pixel_values": pixel_values})
        return Posterior(out["latents_mean"], out["latents_std"])

    return Networks(encode_prompt, predict_noise, decode_latents, encode_image, device)


def _png_files(images: Pixels) -> list[bytes]:
    return [encode_png(image) for image in images]


def _decimal(value: float) -> float:
    """A float32 as its sender wrote it: 0.6 and not 0.60000002, which would count one step more or less."""
    return round(float(value), 6)
