"""Pictures of scenes that the tiny networks learn from, and what layers that stay as they are see in each, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from typing import TypeVar

import numpy as np
import torch
from rich.progress import track

from tritone.vision.shapes import Scene, render

IMAGE_SIZE = 64  # pixels, of all tiny networks
Drawn = TypeVar("Drawn")


@dataclass
class Picture:
    """A scene, its pixels uint8 (64, 64, 3), and what the frozen layers make of them: bfloat16 (65, width)."""

    scene: Scene
    pixels: np.ndarray
    states: torch.Tensor | None = None


def draw_all(draw: Callable[[int], Drawn], count: int, block: int = 0, doing: str = "drawing pictures") -> list[Drawn]:
    """What `draw` makes of `count` seeds, in their order; seeds of different blocks, of ten million each, differ."""
    seeds = range(block * 10_000_000, block * 10_000_000 + count)
    with Pool(2) as pool:
        return list(track(pool.imap(draw, seeds, chunksize=256), doing, count))


def photograph(scene: Scene, seed: int) -> Picture:
    """The scene with up to a few grey levels of noise, as cameras and JPEG add."""
    pixels = np.asarray(render(scene, IMAGE_SIZE))
    random = np.random.default_rng(seed)
    noise = random.normal(0, random.uniform(0, 6), pixels.shape)
    return Picture(scene, np.clip(pixels + noise, 0, 255).astype(np.uint8))


@torch.inference_mode()
def look(see: Callable[[torch.Tensor], torch.Tensor], album: Sequence[Picture], batch: int = 200) -> None:
    """Keep what `see` makes of each picture: uint8 (batch, 64, 64, 3) to states (batch, 65, width)."""
    for start in track(range(0, len(album), batch), "looking at pictures"):
        some = album[start : start + batch]
        with torch.autocast("cpu", torch.bfloat16):
            states = see(torch.from_numpy(np.stack([picture.pixels for picture in some])))
        for picture, seen in zip(some, states.bfloat16(), strict=True):
            picture.states = seen.clone()
