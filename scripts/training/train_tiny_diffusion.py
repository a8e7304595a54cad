"""Train the tiny Stable Diffusion: a real StableDiffusionPipeline that draws coloured shapes from English and Chinese.

Two stages. `vae` writes an autoencoder whose latents are thumbnails of 16 × 16 and teaches its decoder to draw sharp
pictures from them; `unet` may start as soon as it is written. `unet` draws the training pictures once, keeps their
latents, and trains the UNet together with the text encoder: v-prediction, one caption in ten dropped for guidance, an
exponential average of the weights. While the text encoder is young a linear read-out asks it for the colour and the
shape that the caption names; it is thrown away. Both stages save their state every few minutes and go on from it when
they are started again. No picture shows a pair of tritone.vision.shapes.HELD_OUT; no caption is worded as
shape_prompts.NEW_WORDINGS.

    python scripts/training/train_tiny_diffusion.py vae --state .training/diffusion
    python scripts/training/train_tiny_diffusion.py unet --state .training/diffusion \
        --output checkpoints/tiny/stable_diffusion
"""

import copy
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import track
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from evaluate_diffusion import contact_sheet, draw, held_out_prompts, score
from lessons.shape_prompts import LANGUAGES, describe, embellish, every_text, without_prompt
from tritone.vision.shapes import COLOURS, HELD_OUT, SHAPES, Background, Scene, Thing, draw_scene, render

IMAGE_SIZE = 64
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
IGNORE = -100  # cross_entropy's own word for "no label here"
app = typer.Typer(help=__doc__, add_completion=False)


# ---- pictures


def training_scene(seed: int) -> Scene:
    """One big thing in the middle, or two side by side in one picture of ten; mostly on a plain ground.

    Prompts say nothing of size and place, so these vary little, and what is left to learn is colour and shape. In one
    picture of five the colour or the outline has no name.
    """
    random = Random(seed)
    named = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in HELD_OUT]
    kind = random.random()
    pairs: list[tuple[str | None, str | None]]
    if kind < 0.1:
        pairs = [*random.sample(named, 2)]
    elif kind < 0.25:
        pairs = [(None, random.choice(SHAPES))]
    elif kind < 0.3:
        pairs = [(random.choice(list(COLOURS)), None)]
    else:
        pairs = [random.choice(named)]
    scene = draw_scene(random, pairs=pairs)
    centres = [0.5] if len(pairs) == 1 else [0.27, 0.73]
    radius = (0.27, 0.38) if len(pairs) == 1 else (0.18, 0.22)
    things = tuple(
        move(thing, x + random.uniform(-0.04, 0.04), 0.5 + random.uniform(-0.04, 0.04), random.uniform(*radius))
        for thing, x in zip(scene.things, centres, strict=True)
    )
    ground = scene.background
    if random.random() < 0.85:
        ground = Background("plain", ground.first, ground.first, ground.seed)
    return Scene(things, ground)


def move(thing: Thing, x: float, y: float, radius: float) -> Thing:
    """The thing at another place, in another size."""
    scale = radius / thing.radius
    outline = tuple((x + scale * (a - thing.x), y + scale * (b - thing.y)) for a, b in thing.outline)
    return dataclasses.replace(thing, x=x, y=y, radius=radius, outline=outline)


def picture(seed: int) -> np.ndarray:
    """The picture of a training scene: uint8 (64, 64, 3)."""
    return np.asarray(render(training_scene(seed), IMAGE_SIZE))


def any_picture(seed: int) -> np.ndarray:
    """For the autoencoder: every other picture comes from the whole shapes world."""
    if seed % 2:
        return picture(seed)
    random = Random(seed)
    return np.asarray(render(draw_scene(random, allow_held_out=False), IMAGE_SIZE))


def draw_all(function: object, seeds: range) -> torch.Tensor:
    """uint8 (pictures, 64, 64, 3)."""
    with Pool(2) as pool:
        drawn = pool.imap(function, seeds, chunksize=256)  # type: ignore[arg-type]
        return torch.from_numpy(np.stack(list(track(drawn, "drawing pictures", len(seeds)))))


def pixel_values(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> float32 (batch, 3, 64, 64) in -1..1, as VaeImageProcessor makes it."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


# ---- training


class Training:
    """Optimiser, one-cycle learning rate, and a state on disk to go on from."""

    def __init__(self, modules: dict[str, nn.Module], rate: float, steps: int, file: Path) -> None:
        self.modules, self.rate, self.steps, self.file = modules, rate, steps, file
        self.parameters = [p for module in modules.values() for p in module.parameters()]
        self.optimiser = torch.optim.AdamW(self.parameters, rate, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
        self.average = {name: copy.deepcopy(module).eval().requires_grad_(False) for name, module in modules.items()}
        self.step, self.seconds = 0, 0.0
        if file.exists():
            state = torch.load(file, weights_only=True)
            self.step, self.seconds = state["step"], state["seconds"]
            self.optimiser.load_state_dict(state["optimiser"])
            for name, module in modules.items():
                module.load_state_dict(state[name])
                self.average[name].load_state_dict(state[f"average {name}"])

    def save(self) -> None:
        """Write everything that the next run needs."""
        state = {"step": self.step, "seconds": self.seconds, "optimiser": self.optimiser.state_dict()}
        for name, module in self.modules.items():
            state |= {name: module.state_dict(), f"average {name}": self.average[name].state_dict()}
        partial = self.file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.file)

    def run(self) -> Iterator[int]:
        """Yield the number of each step; the caller computes a loss and calls `learn`."""
        while self.step < self.steps:
            started = time.monotonic()
            yield self.step
            self.step += 1
            self.seconds += time.monotonic() - started
            if self.step % 250 == 0 or self.step == self.steps:
                self.save()

    def learn(self, loss: torch.Tensor) -> None:
        """One step of the optimiser and of the average."""
        warm = min(1.0, (self.step + 1) / 200)
        done = self.step / self.steps
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        decay = min(0.998, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for name, module in self.modules.items():
                for mean, weight in zip(self.average[name].parameters(), module.parameters(), strict=True):
                    mean.lerp_(weight, 1 - decay)


# ---- the autoencoder


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


@app.command()
def vae(
    state: Annotated[Path, typer.Option(help="folder of the training's state")],
    steps: int = 3000,
    batch: int = 8,
    pictures: int = 6000,
    rate: float = 4e-4,
    seed: int = 0,
) -> None:
    """Train the autoencoder."""
    start(state, seed)
    images = draw_all(any_picture, range(pictures))
    model = build_vae()
    model.encoder.requires_grad_(False)
    learning = {"decoder": model.decoder, "post_quant_conv": model.post_quant_conv}
    training = Training(learning, rate, steps, state / "vae.pt")
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    if not training.step:
        save_vae(model, images[:2000], state)
    recent: list[float] = []
    for step in training.run():
        pixels = pixel_values(images[torch.randint(len(images), (batch,))])
        with torch.no_grad():
            posterior = model.encode(pixels).latent_dist
        difference = (model.decode(posterior.sample()).sample - pixels).abs()
        training.learn((difference * (1 + 3 * edges(pixels))).mean())
        recent = [*recent[-49:], difference.mean().item()]
        if step % 50 == 0:
            print(f"step {step} L1 {np.mean(recent):.4f} {training.seconds:.0f} s", flush=True)
        if step % 250 == 249 or step == steps - 1:
            average = copy.deepcopy(model)
            for name in learning:
                setattr(average, name, training.average[name])
            save_vae(average, images[:2000], state)


@torch.inference_mode()
def save_vae(model: AutoencoderKL, images: torch.Tensor, state: Path) -> None:
    """Write the autoencoder with the scaling factor that gives its latents a standard deviation of one."""
    latents = torch.cat([model.encode(pixel_values(part)).latent_dist.mean for part in images.split(250)])
    decoded = model.decode(latents[:40]).sample.clamp(-1, 1)
    error = (decoded - pixel_values(images[:40])).abs().mean().item() * 127.5
    model.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    model.save_pretrained(state / "vae")
    print(f"latents std {latents.std().item():.3f} mean {latents.mean().item():.3f}; L1 {error:.2f} of 255", flush=True)
    both = [*images[:20].numpy(), *((decoded[:20] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()]
    contact_sheet(both).save(state / "vae.png")


# ---- the UNet and the text encoder


def train_tokenizer(vocabulary: int = 1600) -> CLIPTokenizer:
    """CLIP's byte-level BPE on the project's own sentences; a Chinese character is always a token of its own.

    CLIP's tokenizer takes a run of Chinese for one word, whose last character carries the end-of-word mark: the
    merges make both forms of each character and never join two.
    """
    texts = every_text()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    merges: dict[tuple[str, str], None] = {}
    for character in sorted({c for text in texts for c in text if "\u3000" <= c <= "\uffef"}):
        first, second, third = byte_level.pre_tokenize_str(character)[0][0]
        merges |= dict.fromkeys([(first, second), (first + second, third), (first + second, third + "</w>")])
    english = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    english.normalizer = normalizers.Lowercase()
    english.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=alphabet,
        show_progress=False, special_tokens=[],
    )  # fmt: skip
    english.train_from_iterator([text for text in texts if text.isascii()] * 2, trainer)
    merges |= dict.fromkeys(tuple(pair) for pair in json.loads(english.to_str())["model"]["merges"])
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=list(merges), model_max_length=77
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers of 128."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=128,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """16 × 16 latents, three levels, cross-attention in the two lower ones."""
    return UNet2DConditionModel(
        sample_size=IMAGE_SIZE // 4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 96, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


class Readout(nn.Module):
    """Colour and shape that a caption names, from the text encoder's pooled state; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.colour, self.shape = nn.Linear(width, len(COLOURS) + 1), nn.Linear(width, len(SHAPES) + 1)

    def forward(self, pooled: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of (batch, width) states; labels (batch, 2), IGNORE where the caption names two things."""
        colours = F.cross_entropy(self.colour(pooled), labels[:, 0], ignore_index=IGNORE)
        return colours + F.cross_entropy(self.shape(pooled), labels[:, 1], ignore_index=IGNORE)


def caption(random: Random, scene: Scene) -> tuple[str, tuple[int, int]]:
    """A prompt for a scene, or none; and the colour and shape that it names."""
    if random.random() < 0.1:
        return without_prompt(random), (IGNORE, IGNORE)
    things = scene.things
    prompt = embellish(random, describe(random, things, random.choice(LANGUAGES)))
    if len(things) > 1:
        return prompt, (IGNORE, IGNORE)
    colours, forms = (*COLOURS, None), (*SHAPES, None)
    return prompt, (colours.index(things[0].colour), forms.index(things[0].shape))


@torch.inference_mode()
def latents_of(model: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Scaled latents of all pictures: float32 (pictures, 4, 16, 16)."""
    parts = track(images.split(200), "encoding pictures")
    encoded = [model.encode(pixel_values(part)).latent_dist.mean for part in parts]
    return torch.cat(encoded) * model.config.scaling_factor


@app.command()
def unet(
    state: Annotated[Path, typer.Option(help="folder of the training's state; holds the autoencoder")],
    output: Annotated[Path, typer.Option(help="folder for the trained pipeline")],
    steps: int = 2700,
    batch: int = 32,
    pictures: int = 10_000,
    rate: float = 1.3e-3,
    seed: int = 2,
) -> None:
    """Train the UNet and the text encoder, and save the pipeline."""
    start(state, seed)
    seeds = range(seed * 10_000_000, seed * 10_000_000 + pictures)
    autoencoder = AutoencoderKL.from_pretrained(state / "vae").eval()
    cache = state / f"latents-{seed}-{pictures}.pt"
    if not cache.exists():
        torch.save(latents_of(autoencoder, draw_all(picture, seeds)).clone(), cache)
    latents = torch.load(cache, weights_only=True)
    with Pool(2) as pool:
        scenes = list(track(pool.imap(training_scene, seeds, chunksize=256), "inventing scenes", pictures))
    tokenizer = train_tokenizer()
    text_encoder, model = build_text_encoder(tokenizer), build_unet()
    modules = {"unet": model, "text_encoder": text_encoder, "readout": Readout(128)}
    training = Training(modules, rate, steps, state / "unet.pt")
    sizes = ", ".join(f"{name} {sum(p.numel() for p in m.parameters()) / 1e6:.2f} M" for name, m in modules.items())
    print(f"{sizes}; {len(tokenizer)} tokens", flush=True)
    noises = DDIMScheduler(**SCHEDULE).alphas_cumprod
    recent: list[tuple[float, float]] = []
    random = Random(f"{seed} {training.step}")
    for step in training.run():
        rows = torch.randint(len(latents), (batch,))
        captions, labels = zip(*(caption(random, scenes[row]) for row in rows.tolist()), strict=True)
        tokens = tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt").input_ids
        loss, reading = loss_of(modules, latents[rows], tokens, torch.tensor(labels), noises)
        training.learn(loss + 0.1 * reading)
        recent = [*recent[-99:], (loss.item(), reading.item())]
        if step % 100 == 0:
            means = np.mean(recent, axis=0)
            print(f"step {step} loss {means[0]:.4f} reading {means[1]:.4f} {training.seconds:.0f} s", flush=True)
        if step % 900 == 899 or step == steps - 1:
            pipeline = save(training.average, AutoencoderKL.from_pretrained(state / "vae"), tokenizer, output)
            trials = held_out_prompts(60 if step < steps - 1 else 200)
            drawn = draw(pipeline, [trial.prompt for trial in trials], steps=20, guidance=3.0)
            print(score(trials, drawn), flush=True)
            contact_sheet(drawn).save(state / "unet.png")


def loss_of(
    modules: dict[str, nn.Module],
    latents: torch.Tensor,
    tokens: torch.Tensor,
    labels: torch.Tensor,
    noises: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean squared error of v (Salimans & Ho 2022, every timestep alike), and the read-out's.

    Min-SNR weights would all but silence the noisy steps, and there outlines are decided: so few, so flat are latents.
    """
    timesteps = torch.randint(len(noises), (len(latents),))
    kept = noises[timesteps].view(-1, 1, 1, 1)
    noise = torch.randn_like(latents)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    # In fp32: of so few channels, bf16 takes three times as long.
    text = modules["text_encoder"](tokens)
    predicted = modules["unet"](noisy, timesteps, text.last_hidden_state).sample
    reading = modules["readout"](text.pooler_output, labels)
    return F.mse_loss(predicted, velocity), reading


def save(
    average: dict[str, nn.Module], autoencoder: AutoencoderKL, tokenizer: CLIPTokenizer, output: Path
) -> StableDiffusionPipeline:
    """Write the folder that StableDiffusionPipeline.from_pretrained reads, in fp16; returns the pipeline in fp32."""
    scheduler = PNDMScheduler(**SCHEDULE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    scheduler.register_to_config(clip_sample=False)  # for DDIM, should somebody exchange the scheduler
    pipeline = StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=average["text_encoder"],
        tokenizer=tokenizer,
        unet=average["unet"],
        scheduler=scheduler,  # as Stable Diffusion 1.5 has it
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    half = copy.deepcopy({name: getattr(pipeline, name) for name in ("vae", "text_encoder", "unet")})
    for module in half.values():
        module.half()
    StableDiffusionPipeline(**{**pipeline.components, **half}, requires_safety_checker=False).save_pretrained(output)
    # transformers loads the type that this file names, diffusers float32: together they must be one type on a CPU.
    amend(output / "text_encoder" / "config.json", dtype="float32")
    amend(output / "vae" / "config.json", _name_or_path=None)  # where the autoencoder was trained is nobody's business
    return pipeline


def amend(file: Path, **values: str | None) -> None:
    """Write values into a JSON file; None takes one out."""
    amended = json.loads(file.read_text(encoding="utf-8")) | values
    kept = {key: value for key, value in amended.items() if value is not None or key not in values}
    file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def start(state: Path, seed: int) -> None:
    """What both stages begin with."""
    torch.set_flush_denormal(True)  # Adam divides by squares of tiny gradients; denormal numbers are very slow
    torch.manual_seed(seed)
    state.mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    app()
