"""Train the tiny Stable Diffusion: a real StableDiffusionPipeline that draws coloured shapes from English and Chinese.

It starts from the autoencoder of `train_tiny_vae.py`, draws the training pictures once, keeps their latents, and
trains the UNet together with the text encoder: v-prediction, one caption in ten dropped for guidance, an exponential
average of the weights. While the text encoder is young a linear read-out asks it for the colour and the shape that
the caption names; it is thrown away. The training saves its state every few minutes and goes on from it when it is
started again. No picture shows a pair of tritone.vision.shapes.HELD_OUT; no caption is worded as
shape_prompts.NEW_WORDINGS.

    python scripts/training/train_tiny_vae.py --state .training/diffusion
    python scripts/training/train_tiny_diffusion.py --state .training/diffusion \
        --output checkpoints/tiny/stable_diffusion
"""

import copy
import json
from collections.abc import Iterator
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

from album import IMAGE_SIZE, draw_all
from evaluate_diffusion import contact_sheet, draw, held_out_prompts, score
from lessons.shape_prompts import LANGUAGES, describe, embellish, every_text, without_prompt
from lessons.shape_scenes import portrait
from loop import Average, Training, averaged, begin, millions
from train_tiny_vae import picture, pixel_values
from tritone.vision.shapes import COLOURS, SHAPES, Scene

SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
}
IGNORE = -100  # cross_entropy's own word for "no label here"


# ---- text


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
    # Merges that are equally frequent go by the numbers of their parts; ends of words have none before they are met, in
    # an order that differs from run to run. As "special" tokens they are numbered first.
    ends = [byte + "</w>" for byte in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary + len(ends), min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=alphabet,
        show_progress=False, special_tokens=ends,
    )  # fmt: skip
    english.train_from_iterator([text for text in texts if text.isascii()] * 2, trainer)
    merges |= dict.fromkeys(tuple(pair) for pair in json.loads(english.to_str())["model"]["merges"])
    tokens = [*alphabet, *ends, *("".join(pair) for pair in merges)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=list(merges), model_max_length=77
    )


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


# ---- networks


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


def build_networks(tokenizer: CLIPTokenizer) -> dict[str, nn.Module]:
    """All that learns; the read-out is thrown away."""
    text_encoder, unet = build_text_encoder(tokenizer), build_unet()
    return {"unet": unet, "text_encoder": text_encoder, "readout": Readout(128)}


# ---- learning


@torch.inference_mode()
def latents_of(model: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Scaled latents of all pictures: float32 (pictures, 4, 16, 16)."""
    parts = track(images.split(200), "encoding pictures")
    encoded = [model.encode(pixel_values(part)).latent_dist.mean for part in parts]
    return torch.cat(encoded) * model.config.scaling_factor


def remembered_latents(state: Path, pictures: int, seed: int) -> torch.Tensor:
    """`latents_of` the training pictures: computed once, then read from the folder of the state."""
    cache = state / f"latents-{seed}-{pictures}.pt"
    if not cache.exists():
        autoencoder = AutoencoderKL.from_pretrained(state / "vae").eval()
        images = torch.from_numpy(np.stack(draw_all(picture, pictures, block=seed)))
        torch.save(latents_of(autoencoder, images).clone(), cache)
    return torch.load(cache, weights_only=True)


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


def learn(
    learning: dict[str, nn.Module],
    tokenizer: CLIPTokenizer,
    latents: torch.Tensor,
    scenes: list[Scene],
    training: Training,
    average: Average,
    random: Random,
    batch: int = 32,
) -> Iterator[int]:
    """Take the steps of a training; yields the number of each that is done."""
    noises = DDIMScheduler(**SCHEDULE).alphas_cumprod
    for step in training.run():
        rows = torch.randint(len(latents), (batch,))
        captions, labels = zip(*(caption(random, scenes[row]) for row in rows.tolist()), strict=True)
        tokens = tokenizer(list(captions), padding="max_length", truncation=True, return_tensors="pt").input_ids
        loss, reading = loss_of(learning, latents[rows], tokens, torch.tensor(labels), noises)
        training.learn(loss + 0.1 * reading)
        average.follow(step)
        training.say(100, loss=loss.item(), reading=reading.item())
        yield step


def main(
    state: Annotated[Path, typer.Option(help="folder of the training's state; holds the autoencoder")],
    output: Annotated[Path, typer.Option(help="folder for the trained pipeline")],
    steps: int = 2700,
    batch: int = 32,
    pictures: int = 10_000,
    rate: float = 1.3e-3,
    seed: int = 2,
) -> None:
    """Train the UNet and the text encoder, and save the pipeline."""
    begin(seed)
    latents = remembered_latents(state, pictures, seed)
    scenes = draw_all(portrait, pictures, block=seed, doing="inventing scenes")
    tokenizer = train_tokenizer()
    learning = build_networks(tokenizer)
    training, average = averaged(learning, rate, steps, state / "unet.pt")
    sizes = ", ".join(f"{name} {millions(module)}" for name, module in learning.items())
    print(f"{sizes}; {len(tokenizer)} tokens", flush=True)
    random = Random(f"{seed} {training.step}")
    for step in learn(learning, tokenizer, latents, scenes, training, average, random, batch):
        if training.every(900):
            pipeline = save(average.modules, AutoencoderKL.from_pretrained(state / "vae"), tokenizer, output)
            trials = held_out_prompts(60 if step < steps else 200)
            drawn = draw(pipeline, [trial.prompt for trial in trials], steps=20, guidance=3.0)
            print(score(trials, drawn), flush=True)
            contact_sheet(drawn).save(state / "unet.png")


# ---- what is kept


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


if __name__ == "__main__":
    typer.run(main)
