"""Draw 200 prompts that training never saw and read from the pixels whether each picture shows what was asked for.

    python scripts/training/evaluate_diffusion.py .checkpoints/tiny/stable_diffusion --clip .checkpoints/tiny/clip

The reader knows no network: it finds the thing that stands out from the ground, names its colour by the nearest of
COLOURS and its shape by the outline that covers it best. On pictures of the shapes world itself it is right (see
tests/unit/training/test_train_tiny_diffusion.py). Half of the prompts ask for a pair of HELD_OUT, the other half are
worded as training never worded them. Prints a Markdown table, and with --clip how often a CLIP checkpoint
puts the caption that was asked for first among those of every colour and shape.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from rich.progress import track
from scipy import ndimage

from lessons.shape_prompts import LANGUAGES, describe, embellish
from lessons.shape_scenes import KNOWN
from tritone.vision import clip, shapes
from tritone.vision.shapes import COLOURS, HELD_OUT, SHAPES, Thing, article

ALL, WITH_WORDS = "all held-out prompts", "the same with style words"
GRID = 48  # outlines are compared at this many pixels
Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """A prompt and what its picture must show."""

    part: str
    prompt: str
    colour: str
    shape: str
    language: str


def thing(colour: str | None, shape: str | None) -> Thing:
    """A thing by its names alone."""
    return Thing(shape, colour, (0, 0, 0), (), 0.5, 0.5, 0.3)


def held_out_prompts(count: int = 200, seed: int = 7) -> list[Trial]:
    """Prompts that training never saw: of pairs it never saw, and in wordings it never saw; both languages evenly."""
    random = Random(f"held out {seed}")
    known = sorted(KNOWN)
    trials = []
    for number in range(count):
        language, new = LANGUAGES[number % 2], number % 4 < 2
        colour, shape = random.choice(known if new else sorted(HELD_OUT))
        prompt = describe(random, (thing(colour, shape),), language, new)
        trials.append(Trial("new wordings" if new else "held-out pairs", prompt, colour, shape, language))
    return trials


def with_style_words(trials: list[Trial], seed: int = 7) -> list[Trial]:
    """The same prompts, each with style words or words without meaning."""
    random, changed = Random(f"style words {seed}"), []
    for trial in trials:
        prompt = trial.prompt
        while prompt == trial.prompt:
            prompt = embellish(random, trial.prompt)
        changed.append(Trial(WITH_WORDS, prompt, trial.colour, trial.shape, trial.language))
    return changed


def find_thing(picture: Pixels) -> Mask | None:
    """The largest thing that stands out from the ground: bool (height, width); None if nothing does."""
    ground = _ground(picture.astype(np.float64))
    distance = np.linalg.norm(picture - ground, axis=-1)
    strongest = np.percentile(distance, 99)
    if strongest < 45:
        return None
    labels, count = ndimage.label(distance > strongest / 2)
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, range(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes))))


def _ground(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The ground's colour at every pixel: a plane through what lies along the border, without outliers."""
    height, width, _ = picture.shape
    y, x = np.mgrid[0:height, 0:width]
    places = np.stack([np.ones_like(x), x / width, y / height], axis=-1).reshape(-1, 3)
    border = (np.minimum(np.minimum(x, y), np.minimum(width - 1 - x, height - 1 - y)) < 3).reshape(-1)
    colours = picture.reshape(-1, 3)
    middle = np.median(colours[border], axis=0)
    used = border & (np.linalg.norm(colours - middle, axis=-1) < 60)
    plane, *_ = np.linalg.lstsq(places[used], colours[used], rcond=None)
    return np.asarray((places @ plane).reshape(picture.shape))


def name_colour(picture: Pixels, mask: Mask) -> str:
    """The nearest of COLOURS to what lies inside the outline."""
    inside = ndimage.binary_erosion(mask, iterations=2)
    rgb = np.median(picture[inside if inside.any() else mask], axis=0)
    return min(COLOURS, key=lambda colour: float(np.linalg.norm(rgb - np.array(COLOURS[colour]))))


def name_shape(mask: Mask) -> str:
    """The shape whose outline, turned and scaled, covers the mask best."""
    candidate = _normalised(mask)
    overlaps = {
        shape: max(float((candidate & other).sum() / (candidate | other).sum()) for other in masks)
        for shape, masks in _templates().items()
    }
    return max(overlaps, key=lambda shape: overlaps[shape])


def _normalised(mask: Mask) -> Mask:
    """The mask on a small grid, its centre of mass in the middle, its area a quarter of the grid."""
    (y, x), area = ndimage.center_of_mass(mask), mask.sum()
    scale = np.sqrt(area / (GRID * GRID / 4))
    rows, columns = (scale * (np.arange(GRID) - (GRID - 1) / 2) + centre for centre in (y, x))
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    return np.asarray(ndimage.map_coordinates(mask.astype(float), grid, order=1) > 0.5)


@functools.cache
def _templates() -> dict[str, list[Mask]]:
    """Each shape as it can be drawn: turned by up to 12 degrees, arms and points of every width."""
    templates: dict[str, list[Mask]] = {}
    for shape in SHAPES:
        random = Random(shape)
        for _ in range(24):
            outline = shapes._outline(random, shape, 0.5, 0.5, 0.42)
            canvas = Image.new("L", (192, 192))
            ImageDraw.Draw(canvas).polygon([(x * 192, y * 192) for x, y in outline], fill=1)
            templates.setdefault(shape, []).append(_normalised(np.asarray(canvas) > 0))
    return templates


def read(picture: Pixels) -> tuple[str | None, str | None]:
    """Colour and shape of the picture's thing; None, None where there is none."""
    mask = find_thing(picture)
    return (name_colour(picture, mask), name_shape(mask)) if mask is not None else (None, None)


def draw(
    pipeline: StableDiffusionPipeline, prompts: list[str], steps: int, guidance: float, batch: int = 25
) -> list[Pixels]:
    """One picture a prompt, seeds 0, 1, …: uint8 (height, width, 3)."""
    pictures: list[Pixels] = []
    for start in track(range(0, len(prompts), batch), "drawing"):
        some = prompts[start : start + batch]
        generators = [torch.Generator("cpu").manual_seed(start + number) for number in range(len(some))]
        result = pipeline(
            some, num_inference_steps=steps, guidance_scale=guidance, generator=generators, output_type="np"
        )
        pictures += list((result.images * 255).round().astype(np.uint8))
    return pictures


def score(trials: list[Trial], pictures: list[Pixels]) -> str:
    """A Markdown table of how many pictures have the colour and the shape asked for."""
    seen = [read(picture) for picture in pictures]
    rows: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for trial, (colour, shape) in zip(trials, seen, strict=True):
        right = (colour == trial.colour, shape == trial.shape)
        whole = trial.part if trial.part == WITH_WORDS else ALL
        for key in {(trial.part, trial.language), (whole, trial.language), (whole, "both")}:
            rows.setdefault(key, []).append(right)
    lines = ["| prompts | language | count | colour right | shape right | both right |", "|---|---|---|---|---|---|"]
    for (part, language), rights in sorted(rows.items()):
        colours, forms, both = (
            100 * float(np.mean(values)) for values in zip(*((c, s, c and s) for c, s in rights), strict=True)
        )
        lines.append(f"| {part} | {language} | {len(rights)} | {colours:.1f} % | {forms:.1f} % | {both:.1f} % |")
    return "\n".join(lines)


def clip_score(trials: list[Trial], pictures: list[Pixels], checkpoint: Path) -> float:
    """Share of pictures, 0..1, for which CLIP puts "a red circle", the caption asked for, before all other pairs'."""
    captions = {(c, s): f"{article(c)} {c} {s}" for c in COLOURS for s in SHAPES}
    tokenizer, processor = clip.Tokenizer.load(checkpoint, 1000), clip.ImageProcessor.load(checkpoint)
    texts, images = (kind.load(checkpoint, "cpu", "float32") for kind in (clip.TextEncoder, clip.ImageEncoder))
    named = texts.encode([tokenizer.tokenize(text).input_ids for text in captions.values()])
    seen = images.encode([processor.pixel_values(picture) for picture in pictures])
    best = [list(captions)[place] for place in (seen @ named.T).argmax(1)]
    return float(np.mean([pair == (trial.colour, trial.shape) for pair, trial in zip(best, trials, strict=True)]))


def contact_sheet(pictures: list[Pixels], columns: int = 20) -> Image.Image:
    """All pictures side by side."""
    height, width, _ = pictures[0].shape
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height))
    for number, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), (number % columns * width, number // columns * height))
    return sheet


def main(
    checkpoint: Path,
    steps: Annotated[int, typer.Option(help="num_inference_steps")] = 20,
    guidance: Annotated[float, typer.Option(help="guidance_scale")] = 3.0,
    clip_checkpoint: Annotated[Path | None, typer.Option("--clip", help="ask this CLIP checkpoint too")] = None,
    sheet: Annotated[Path | None, typer.Option(help="save all pictures side by side to this file")] = None,
) -> None:
    """Print how often the checkpoint draws what it was asked for."""
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    trials = held_out_prompts()
    trials += with_style_words(trials)
    pictures = draw(pipeline, [trial.prompt for trial in trials], steps, guidance)
    print(score(trials, pictures))
    if clip_checkpoint:
        half = len(trials) // 2
        plain, styled = (
            clip_score(trials[part], pictures[part], clip_checkpoint) for part in (slice(half), slice(half, None))
        )
        print(f"\nCLIP's first of {len(COLOURS) * len(SHAPES)} captions: {ALL} {plain:.1%}, {WITH_WORDS} {styled:.1%}")
    if sheet:
        contact_sheet(pictures).save(sheet)


if __name__ == "__main__":
    typer.run(main)
