"""Scenes that the tiny networks learn from. None shows a pair of HELD_OUT; some show things without a name.

Colours are also shown on outlines without a name and shapes in colours without a name, so that a network learns the
two apart and not pairs by heart.
"""

import dataclasses
from random import Random

from tritone.vision.shapes import COLOURS, HELD_OUT, SHAPES, Background, Scene, Thing, draw_scene

Pair = tuple[str | None, str | None]  # colour and shape
KNOWN = [(colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in HELD_OUT]


def training_scene(seed: int) -> Scene:
    """One to three things anywhere; in half of the scenes, things without a name for colour or for shape."""
    random = Random(seed)
    kind = random.random()
    pairs: list[Pair] = []
    for _ in range(random.choice((1, 1, 2, 2, 3, 3))):
        known = random.choice(KNOWN)
        if kind < 0.25:
            pairs.append((None, random.choice(SHAPES)))
        elif kind < 0.5:
            pairs.append((random.choice(list(COLOURS)), None))
        else:
            pairs.append(known)
    return draw_scene(random, pairs=pairs)


def portrait(seed: int) -> Scene:
    """One big thing in the middle, or two side by side in one picture of ten; mostly on a plain ground.

    Prompts say nothing of size and place, so these vary little, and what is left to learn is colour and shape. In one
    picture of five the colour or the outline has no name.
    """
    random = Random(seed)
    pairs = _portrayed(random)
    scene = draw_scene(random, pairs=pairs)
    centres = [0.5] if len(pairs) == 1 else [0.27, 0.73]
    radius = (0.27, 0.38) if len(pairs) == 1 else (0.18, 0.22)
    things = tuple(
        _move(thing, x + random.uniform(-0.04, 0.04), 0.5 + random.uniform(-0.04, 0.04), random.uniform(*radius))
        for thing, x in zip(scene.things, centres, strict=True)
    )
    ground = scene.background
    if random.random() < 0.85:
        ground = Background("plain", ground.first, ground.first, ground.seed)
    return Scene(things, ground)


def _portrayed(random: Random) -> list[Pair]:
    kind = random.random()
    if kind < 0.1:
        return [*random.sample(KNOWN, 2)]
    if kind < 0.25:
        return [(None, random.choice(SHAPES))]
    if kind < 0.3:
        return [(random.choice(list(COLOURS)), None)]
    return [random.choice(KNOWN)]


def _move(thing: Thing, x: float, y: float, radius: float) -> Thing:
    """The thing at another place, in another size."""
    scale = radius / thing.radius
    outline = tuple((x + scale * (a - thing.x), y + scale * (b - thing.y)) for a, b in thing.outline)
    return dataclasses.replace(thing, x=x, y=y, radius=radius, outline=outline)
