"""Train the tiny CLIP vision tower to see: every 8 × 8 patch learns to say what covers it.

LLaVA starts from a vision tower that can already see. Here the lesson is dense and therefore quick: for each patch
the colour, the shape, the size and the centre of the thing on it.

    python scripts/training/train_tiny_vision.py --output .training/vision
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn
from torch.nn import functional as F  # noqa: N812 (torch's own convention)
from torch.optim.lr_scheduler import OneCycleLR
from transformers import CLIPVisionConfig, CLIPVisionModel

from album import IMAGE_SIZE, draw_all
from lessons.shape_scenes import training_scene
from loop import Training, begin
from tritone.vision.shapes import COLOURS, SHAPES, SIZES, Scene, render, segment

PATCH = 8
GRID = IMAGE_SIZE // PATCH
IGNORE = -100  # cross_entropy's own word for "no label here"
CONFIG = CLIPVisionConfig(
    hidden_size=192,
    intermediate_size=768,
    num_hidden_layers=6,
    num_attention_heads=6,
    image_size=IMAGE_SIZE,
    patch_size=PATCH,
    projection_dim=128,
)
# OpenAI CLIP's own normalisation, which CLIPImageProcessor applies.
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def patch_labels(scene: Scene) -> np.ndarray:
    """What covers each patch: float32 (64, 6): is-thing, colour, shape, size (IGNORE = unknown), centre x, y."""
    covers = segment(scene, IMAGE_SIZE).reshape(GRID, PATCH, GRID, PATCH).transpose(0, 2, 1, 3).reshape(GRID**2, -1)
    labels = np.full((GRID**2, 6), IGNORE, np.float32)
    labels[(covers > 0).mean(1) < 0.05, 0] = 0
    for index, thing in enumerate(scene.things, start=1):
        colour = list(COLOURS).index(thing.colour) if thing.colour else IGNORE
        shape = SHAPES.index(thing.shape) if thing.shape else IGNORE
        labels[(covers == index).mean(1) > 0.3] = (1, colour, shape, SIZES.index(thing.size), thing.x, thing.y)
    return labels


def example(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Picture uint8 (64, 64, 3) and its patch labels."""
    scene = training_scene(seed)
    return np.asarray(render(scene, IMAGE_SIZE)), patch_labels(scene)


def pixel_values(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> normalised float32 (batch, 3, 64, 64), as CLIPImageProcessor makes it."""
    return ((pictures.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)


class PatchHeads(nn.Module):
    """Linear read-outs of a patch state; thrown away after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = (2, len(COLOURS), len(SHAPES), len(SIZES), 2)
        self.linear = nn.Linear(width, sum(self.parts))

    def forward(self, states: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        """Loss of (batch, 64, width) states, and accuracy of thing, colour, shape, size where known."""
        *classes, centre = self.linear(states).float().split(self.parts, dim=-1)
        loss, accuracy = torch.zeros(()), []
        for column, logits in enumerate(classes):
            target = labels[..., column].long()
            loss = loss + F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=IGNORE)
            known = target != IGNORE
            accuracy.append((logits.argmax(-1) == target)[known].float().mean().item())
        thing = labels[..., 0] == 1
        return loss + 10 * F.mse_loss(centre[thing], labels[..., 4:][thing]), accuracy


def training_of(tower: CLIPVisionModel, heads: PatchHeads, steps: int, stop: int) -> Training:
    """One cycle of `steps`, left at `stop`."""
    optimiser = torch.optim.AdamW([*tower.parameters(), *heads.parameters()], lr=1e-3, weight_decay=0.05, fused=True)
    return Training(optimiser, partial(OneCycleLR, max_lr=1e-3, total_steps=steps, pct_start=0.1), stop)


def learn(
    tower: CLIPVisionModel,
    heads: PatchHeads,
    examples: list[tuple[np.ndarray, np.ndarray]],
    training: Training,
    batch: int = 96,
) -> Iterator[int]:
    """Take the steps of a training; yields the number of each that is done."""
    images, labels = (torch.from_numpy(np.stack(each)) for each in zip(*examples, strict=True))
    for step in training.run():
        rows = torch.randint(len(images), (batch,))
        with torch.autocast("cpu", torch.bfloat16):
            states = tower(pixel_values(images[rows])).last_hidden_state[:, 1:]
            loss, accuracy = heads(states, labels[rows])
        training.learn(loss)
        right = dict(zip(("thing", "colour", "shape", "size"), accuracy, strict=True))
        training.say(50, loss=loss.item(), **right)
        yield step


def main(
    output: Annotated[Path, typer.Option(help="folder for the trained tower")],
    steps: Annotated[int, typer.Option(help="length of the learning-rate schedule")] = 2400,
    stop: Annotated[int, typer.Option(help="step to stop at; train_tiny_llava.py takes the tower further")] = 1600,
    batch: int = 96,
    pictures: int = 60_000,
    seed: int = 0,
) -> None:
    """Train and save a CLIPVisionModel."""
    begin(seed)
    examples = draw_all(example, pictures, block=seed)
    tower, heads = CLIPVisionModel(CONFIG), PatchHeads(CONFIG.hidden_size)
    training = training_of(tower, heads, steps, stop)
    for _ in learn(tower, heads, examples, training, batch):
        if training.every(400):
            tower.save_pretrained(output)


if __name__ == "__main__":
    typer.run(main)
