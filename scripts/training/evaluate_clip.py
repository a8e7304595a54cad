"""Score a CLIP checkpoint on pictures of shapes that it has never seen, in English and Chinese.

    python scripts/training/evaluate_clip.py .checkpoints/tiny/clip

Prints a Markdown table.

Retrieval: the pictures come in groups of 50 whose captions (`tritone.vision.shapes.caption`: every thing with colour
and shape) differ from each other, in whatever order the things are named. Text → image: each caption of a group ranks
its 50 pictures, and is right if its own picture is first. Image → text: each picture ranks the 50 captions. A picture
that shows more than the caption says counts as wrong.
Zero-shot: pictures of one thing; the nine colours ("a red shape", 一个红色的图形) or the six shapes ("a circle",
一个圆形) are ranked by each picture.
"""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import torch
import typer
from transformers import CLIPModel, CLIPProcessor

from lessons.shape_scenes import KNOWN
from tritone.vision.shapes import CHINESE, COLOURS, HELD_OUT, SHAPES, Scene, article, caption, draw_scene, render

PICTURE_SIZE = 256  # pixels; larger than the network's own, as users' pictures are
GROUP = 50
LANGUAGES = ("en", "zh")


def scenes_in_groups(count: int, seed: int, held_out: bool) -> list[Scene]:
    """Groups of 50 scenes with captions all different; with held-out pairs in each scene, or in none."""
    random = Random(f"evaluate clip {seed} {held_out}")
    scenes: list[Scene] = []
    while len(scenes) < count:
        group: dict[frozenset, Scene] = {}
        while len(group) < min(GROUP, count - len(scenes)):
            pairs = None
            if held_out:
                pairs = [random.choice(sorted(HELD_OUT)) for _ in range(random.choice((1, 2, 2, 3, 3)))]
            scene = draw_scene(random, pairs=pairs, allow_held_out=held_out)
            # A bag, not a list: "a and b" is what "b and a" is.
            group[frozenset(Counter((thing.colour, thing.shape) for thing in scene.things).items())] = scene
        scenes += group.values()
    return scenes


@torch.inference_mode()
def see(model: CLIPModel, processor: CLIPProcessor, scenes: list[Scene]) -> np.ndarray:
    """Unit vectors of the drawn scenes, float32 (scenes, width)."""
    pixels = processor(images=[render(scene, PICTURE_SIZE) for scene in scenes], return_tensors="pt")["pixel_values"]
    seen = [model.get_image_features(some).pooler_output for some in pixels.split(GROUP)]
    return torch.nn.functional.normalize(torch.cat(seen), dim=-1).numpy()


@torch.inference_mode()
def read(model: CLIPModel, processor: CLIPProcessor, texts: list[str]) -> np.ndarray:
    """Unit vectors of the texts, float32 (texts, width)."""
    tokens = processor(text=texts, padding=True, truncation=True, return_tensors="pt")["input_ids"]
    states = [model.get_text_features(some).pooler_output for some in tokens.split(GROUP)]
    return torch.nn.functional.normalize(torch.cat(states), dim=-1).numpy()


def recall(pictures: np.ndarray, texts: np.ndarray) -> tuple[float, float]:
    """Recall at 1 within groups of 50: text → image, image → text."""
    first = [[], []]
    for start in range(0, len(pictures), GROUP):
        likeness = texts[start : start + GROUP] @ pictures[start : start + GROUP].T
        own = np.arange(len(likeness))
        first[0].append(likeness.argmax(1) == own)
        first[1].append(likeness.argmax(0) == own)
    return float(np.concatenate(first[0]).mean()), float(np.concatenate(first[1]).mean())


def zero_shot(model: CLIPModel, processor: CLIPProcessor, count: int, seed: int, held_out: bool) -> list[str]:
    """Rows of the table: accuracy of colour and of shape."""
    random = Random(f"evaluate clip zero-shot {seed} {held_out}")
    pairs = sorted(HELD_OUT) if held_out else KNOWN
    scenes = [draw_scene(random, pairs=[random.choice(pairs)]) for _ in range(count)]
    prompts = {
        ("colour", "en"): [f"{article(name)} {name} shape" for name in COLOURS],
        ("colour", "zh"): [f"一个{CHINESE[name]}的图形" for name in COLOURS],
        ("shape", "en"): [f"{article(name)} {name}" for name in SHAPES],
        ("shape", "zh"): [f"一个{CHINESE[name]}" for name in SHAPES],
    }
    pictures = see(model, processor, scenes)
    rows = []
    for kind, names in (("colour", tuple(COLOURS)), ("shape", SHAPES)):
        truth = [names.index(getattr(scene.things[0], kind)) for scene in scenes]
        scores = []
        for language in LANGUAGES:
            texts = read(model, processor, prompts[kind, language])
            scores.append(float(np.mean((pictures @ texts.T).argmax(1) == truth)))
        rows.append(_row("held-out pairs" if held_out else "trained pairs", f"zero-shot {kind}", scores, count))
    return rows


def report(model: CLIPModel, processor: CLIPProcessor, pictures: int, seed: int) -> str:
    """The Markdown table."""
    rows = ["| pictures | task | English | Chinese |", "|---|---|---|---|"]
    for held_out in (False, True):
        scenes = scenes_in_groups(pictures, seed, held_out)
        seen = see(model, processor, scenes)
        texts = [[caption(scene, language) for scene in scenes] for language in LANGUAGES]
        scores = [recall(seen, read(model, processor, captions)) for captions in texts]
        part = "held-out pairs" if held_out else "trained pairs"
        for task, values in zip(("text → image", "image → text"), zip(*scores, strict=True), strict=True):
            rows.append(_row(part, f"{task}, first of {GROUP}", list(values), pictures))
        rows += zero_shot(model, processor, pictures, seed, held_out)
    return "\n".join(rows)


def _row(part: str, task: str, scores: list[float], count: int) -> str:
    return f"| {part} | {task} | {' | '.join(f'{100 * score:.1f} % of {count}' for score in scores)} |"


def main(checkpoint: Path, pictures: int = 500, seed: int = 7) -> None:
    """Score a checkpoint folder."""
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    processor = CLIPProcessor.from_pretrained(checkpoint)
    print(report(model, processor, pictures, seed))


if __name__ == "__main__":
    typer.run(main)
