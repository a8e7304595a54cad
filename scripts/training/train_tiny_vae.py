"""Train the autoencoder of the tiny Stable Diffusion: the first of two stages; train_tiny_diffusion.py is the second.

It writes an AutoencoderKL whose latents are thumbnails of 16 × 16 and teaches its decoder to draw sharp pictures from
them; the second stage may start as soon as it is written. The training saves its state every few minutes and goes on
from it when it is started again. No picture shows a pair of tritone.vision.shapes.HELD_OUT.

    python scripts/training/train_tiny_vae.py --state .training/diffusion
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)

from album import IMAGE_SIZE, draw_all
from evaluate_diffusion import contact_sheet
from lessons.shape_scenes import portrait
from loop import Average, Training, averaged, begin, millions
from tritone.vision.shapes import draw_scene, render


def picture(seed: int) -> np.ndarray:
    """A portrait: uint8 (64, 64, 3)."""
    return np.asarray(render(portrait(seed), IMAGE_SIZE))


def any_picture(seed: int) -> np.ndarray:
    """For the autoencoder: every other picture comes from the whole shapes world."""
    if seed % 2:
        return picture(seed)
    random = Random(seed)
    return np.asarray(render(draw_scene(random, allow_held_out=False), IMAGE_SIZE))


def pixel_values(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> float32 (batch, 3, 64, 64) in -1..1, as VaeImageProcessor makes it."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def build_vae() -> AutoencoderKL:
    """0.7 million parameters: 64 × 64 pixels to 16 × 16 latents of 4 channels."""
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,  # of so few channels, smaller groups would lose what colour it was
        sample_size=IMAGE_SIZE,
    )
    start_as_thumbnail(model)
    return model


@torch.no_grad()
def start_as_thumbnail(model: AutoencoderKL) -> None:
    """Let the untrained network hand on colours: latents are the 4 × 4 means, the picture is those, blurred.

    From random weights the colours alone take half an hour to learn; so the encoder stays as it is set here, and only
    the decoder learns, to draw what the thumbnail shows without blur. The fourth latent is a random filter's. Red,
    green and blue go through channels 0 to 2 of every convolution, and residual branches begin at zero. Two constant
    channels of ±`loud` fix what the last group norm divides by, and SiLU is nearly straight around `straight`.
    """
    loud, straight = 8.0, 6.0
    mean, blur = torch.zeros(3, 3), torch.tensor([1.0, 2.0, 1.0]) / 4
    mean[1:, 1:] = 0.25  # stride 2, padded below and to the right
    mean = mean.flip(0, 1)
    for name, weight in model.named_parameters():
        if name.endswith(("conv2.weight", "conv2.bias", "to_out.0.weight", "to_out.0.bias")):
            weight.zero_()
    one = torch.zeros(3, 3)
    one[1, 1] = 1.0
    for half in (model.encoder, model.decoder):
        pass_on(half.conv_in, one, channels=3)
        for channel, constant in ((3, loud), (4, -loud)):
            half.conv_in.weight[channel], half.conv_in.bias[channel] = 0.0, constant
        for name, part in half.named_modules():
            if name.endswith("conv_shortcut"):
                pass_on(part, torch.ones(1, 1), channels=5)
            elif name.endswith(("downsamplers.0.conv", "upsamplers.0.conv")):
                pass_on(part, mean if "down" in name else torch.outer(blur, blur), channels=5)
        width = half.conv_norm_out.num_channels
        half.conv_norm_out.weight.fill_(loud * math.sqrt(2 / width))
        half.conv_norm_out.bias.fill_(straight)
        pass_on(half.conv_out, one, channels=3)
        half.conv_out.bias[:3] = -F.silu(torch.tensor(straight))
    model.encoder.conv_out.weight[4:], model.encoder.conv_out.bias[4:] = 0.0, -6.0  # log of the variance
    for part in (model.quant_conv, model.post_quant_conv):
        pass_on(part, torch.ones(1, 1), channels=len(part.bias))


def pass_on(convolution: nn.Conv2d, kernel: torch.Tensor, channels: int) -> None:
    """Make output channel i, of the first few, the input channel i under a kernel; quieten all others."""
    convolution.weight.mul_(0.5)
    convolution.bias.zero_()
    for channel in range(channels):
        convolution.weight[channel] = 0.0
        convolution.weight[channel, channel] = kernel


def edges(pixels: torch.Tensor) -> torch.Tensor:
    """Where the picture changes from one pixel to the next, spread by a pixel: 0..1 (batch, 1, 64, 64)."""
    across = F.pad((pixels[..., :, 1:] - pixels[..., :, :-1]).abs().amax(1, keepdim=True), (0, 1))
    down = F.pad((pixels[..., 1:, :] - pixels[..., :-1, :]).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    return F.max_pool2d(torch.maximum(across, down).clamp(max=1), 3, 1, 1)


def training_of(model: AutoencoderKL, rate: float, steps: int, state: Path) -> tuple[Training, Average]:
    """The decoder learns, the encoder stays as it was set."""
    model.encoder.requires_grad_(False)
    return averaged({"decoder": model.decoder, "post_quant_conv": model.post_quant_conv}, rate, steps, state)


def learn(
    model: AutoencoderKL, images: torch.Tensor, training: Training, average: Average, batch: int = 8
) -> Iterator[int]:
    """Take the steps of a training; yields the number of each that is done."""
    for step in training.run():
        pixels = pixel_values(images[torch.randint(len(images), (batch,))])
        with torch.no_grad():
            posterior = model.encode(pixels).latent_dist
        difference = (model.decode(posterior.sample()).sample - pixels).abs()
        training.learn((difference * (1 + 3 * edges(pixels))).mean())
        average.follow(step)
        training.say(50, L1=difference.mean().item())
        yield step


def main(
    state: Annotated[Path, typer.Option(help="folder of the training's state")],
    steps: int = 3000,
    batch: int = 8,
    pictures: int = 6000,
    rate: float = 4e-4,
    seed: int = 0,
) -> None:
    """Train the autoencoder."""
    begin(seed)
    state.mkdir(parents=True, exist_ok=True)
    images = torch.from_numpy(np.stack(draw_all(any_picture, pictures)))
    model = build_vae()
    training, average = training_of(model, rate, steps, state / "vae.pt")
    print(f"{millions(model)} parameters", flush=True)
    if not training.step:
        save(model, images[:2000], state)
    for _ in learn(model, images, training, average, batch):
        if training.every(250):
            averaged_model = copy.deepcopy(model)
            for name, module in average.modules.items():
                setattr(averaged_model, name, module)
            save(averaged_model, images[:2000], state)


@torch.inference_mode()
def save(model: AutoencoderKL, images: torch.Tensor, state: Path) -> None:
    """Write the autoencoder with the scaling factor that gives its latents a standard deviation of one."""
    latents = torch.cat([model.encode(pixel_values(part)).latent_dist.mean for part in images.split(250)])
    decoded = model.decode(latents[:40]).sample.clamp(-1, 1)
    error = (decoded - pixel_values(images[:40])).abs().mean().item() * 127.5
    model.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    model.save_pretrained(state / "vae")
    print(f"latents std {latents.std().item():.3f} mean {latents.mean().item():.3f}; L1 {error:.2f} of 255", flush=True)
    both = [*images[:20].numpy(), *((decoded[:20] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()]
    contact_sheet(both).save(state / "vae.png")


if __name__ == "__main__":
    typer.run(main)
