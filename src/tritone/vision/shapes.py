"""The shapes world: procedurally drawn pictures of coloured shapes, the ground truth that the tiny networks learn.

Everything is decided by a `random.Random`, so a seed makes the same picture everywhere. This file knows what a scene
is and how it looks; what people say about a scene in two languages is in `captions`, below, and in
`scripts/training/lessons/shape_questions.py`. It knows nothing of networks.
"""

import colorsys
import math
from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]
Point = tuple[float, float]

COLOURS: dict[str, RGB] = {
    "red": (220, 30, 30),
    "orange": (245, 135, 15),
    "yellow": (245, 220, 30),
    "green": (35, 150, 50),
    "blue": (35, 75, 215),
    "purple": (130, 40, 170),
    "pink": (245, 130, 185),
    "black": (20, 20, 20),
    "white": (248, 248, 248),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
SIZES = ("small", "big")
# Row by row, as one reads.
POSITIONS = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
CHINESE = {
    **dict(zip(COLOURS, ("红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "黑色", "白色"), strict=True)),
    **dict(zip(SHAPES, ("圆形", "正方形", "三角形", "星形", "心形", "十字形"), strict=True)),
    **dict(zip(SIZES, ("小", "大"), strict=True)),
    **dict(
        zip(
            POSITIONS,
            ("左上角", "上方", "右上角", "左边", "中间", "右边", "左下角", "下方", "右下角"),
            strict=True,
        )
    ),
}
# Never shown to a network in training: each colour and each shape stays in many other pairs.
HELD_OUT = frozenset(
    {
        ("red", "star"),
        ("orange", "heart"),
        ("yellow", "cross"),
        ("green", "circle"),
        ("blue", "triangle"),
        ("purple", "square"),
        ("pink", "circle"),
        ("black", "heart"),
        ("white", "triangle"),
    }
)
# Radius as a fraction of the picture's side; between the two ranges nobody could say which it is.
RADIUS = {"small": (0.10, 0.13), "big": (0.18, 0.22)}
HUGE_RADIUS = (0.22, 0.42)  # a lone shape may fill the picture; it is "big" too


@dataclass(frozen=True)
class Thing:
    """One shape. `colour` or `shape` is None where it is drawn as something that has no name here."""

    shape: str | None
    colour: str | None
    rgb: RGB
    outline: tuple[Point, ...]  # polygon in picture fractions, 0..1, y down
    x: float  # centre, fraction of the width
    y: float  # centre, fraction of the height
    radius: float  # fraction of the side

    @property
    def size(self) -> str:
        """Small or big."""
        return "small" if self.radius < 0.155 else "big"

    @property
    def cell(self) -> int:
        """Index into POSITIONS of the third of the picture that holds the centre."""
        return 3 * min(int(self.y * 3), 2) + min(int(self.x * 3), 2)

    @property
    def position(self) -> str:
        """Where the centre lies, one of POSITIONS."""
        return POSITIONS[self.cell]


@dataclass(frozen=True)
class Background:
    """A plain, shaded, striped or speckled ground between two colours."""

    kind: str
    first: RGB
    second: RGB
    seed: int


@dataclass(frozen=True)
class Scene:
    """One to three things, in reading order, on a background."""

    things: tuple[Thing, ...]
    background: Background


def draw_scene(
    random: Random,
    count: int | None = None,
    pairs: list[tuple[str | None, str | None]] | None = None,
    allow_held_out: bool = True,
) -> Scene:
    """Invent a scene.

    Args:
        random: decides everything that the other arguments leave open.
        count: how many things, 1 to 3; drawn when None.
        pairs: the (colour, shape) of each thing; None in a pair means a colour or an outline without a name.
        allow_held_out: False draws none of the pairs in HELD_OUT.
    """
    if pairs is None:
        named = [(c, s) for c in COLOURS for s in SHAPES if allow_held_out or (c, s) not in HELD_OUT]
        pairs = [random.choice(named) for _ in range(count or random.choice((1, 2, 2, 3, 3)))]
    while True:
        placed = _place(random, len(pairs))
        rgbs = [_jitter(random, COLOURS[colour]) if colour else _any_rgb(random) for colour, _ in pairs]
        background = _background(random, rgbs)
        if placed and background:
            break
    things = [
        Thing(shape, colour, rgb, _outline(random, shape, x, y, radius), x, y, radius)
        for (colour, shape), rgb, (x, y, radius) in zip(pairs, rgbs, placed, strict=True)
    ]
    return Scene(tuple(sorted(things, key=lambda thing: thing.cell)), background)


def render(scene: Scene, size: int = 64) -> Image.Image:
    """Draw the scene as an RGB picture of `size` × `size` pixels, anti-aliased."""
    scale = 4 * size if size < 256 else 2 * size
    canvas = _paint_background(scene.background, size).resize((scale, scale), Image.Resampling.BICUBIC)
    pencil = ImageDraw.Draw(canvas)
    for thing in scene.things:
        pencil.polygon([(x * scale, y * scale) for x, y in thing.outline], fill=thing.rgb)
    return canvas.resize((size, size), Image.Resampling.BOX)


def segment(scene: Scene, size: int = 64) -> npt.NDArray[np.uint8]:
    """Which thing covers each pixel: uint8 (size, size), 0 for the background, i + 1 for things[i]."""
    canvas = Image.new("L", (size, size), 0)
    pencil = ImageDraw.Draw(canvas)
    for index, thing in enumerate(scene.things, start=1):
        pencil.polygon([(x * size, y * size) for x, y in thing.outline], fill=index)
    return np.asarray(canvas)


def _place(random: Random, count: int) -> list[tuple[float, float, float]] | None:
    """Centres and radii that fit, do not touch, and lie clear of the borders between thirds; None if unlucky."""
    placed: list[tuple[float, float, float]] = []
    for _ in range(count):
        huge = count == 1 and random.random() < 0.3
        radius = random.uniform(*(HUGE_RADIUS if huge else RADIUS[random.choice(SIZES)]))
        x, y = (random.uniform(radius + 0.01, 0.99 - radius) for _ in range(2))
        if any(abs(value - border) < 0.035 for value in (x, y) for border in (1 / 3, 2 / 3)):
            return None
        if any(math.dist((x, y), (a, b)) < radius + r + 0.03 or _cell(x, y) == _cell(a, b) for a, b, r in placed):
            return None
        placed.append((x, y, radius))
    return placed


def _cell(x: float, y: float) -> tuple[int, int]:
    return int(x * 3), int(y * 3)


def _jitter(random: Random, rgb: RGB) -> RGB:
    """A shade that everyone would still call by the same name."""
    return tuple(min(255, max(0, round(value + random.uniform(-12, 12)))) for value in rgb)  # type: ignore[return-value]


def _any_rgb(random: Random) -> RGB:
    red, green, blue = colorsys.hsv_to_rgb(random.random(), random.random(), random.uniform(0.1, 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(random: Random, avoid: list[RGB]) -> Background | None:
    """A ground that every thing stands out from; None if the colours drawn do not."""
    first = _ground_rgb(random)
    kind = random.choice(("plain", "plain", "shaded", "striped", "speckled"))
    reach = 0 if kind == "plain" else 30
    second = tuple(min(255, max(0, value + random.randint(-reach, reach))) for value in first)
    if any(math.dist(rgb, ground) < 95 for rgb in avoid for ground in (first, second)):
        return None
    return Background(kind, first, second, random.randrange(2**31))  # type: ignore[arg-type]


def _ground_rgb(random: Random) -> RGB:
    """Paper white, greys and pale or dark tints: weak colours, so that the shapes' colours are the strong ones."""
    if random.random() < 0.2:
        return (255, 255, 255)
    red, green, blue = colorsys.hsv_to_rgb(random.random(), random.uniform(0, 0.25), random.uniform(0.12, 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def _paint_background(background: Background, size: int) -> Image.Image:
    """Draw the ground at `size` pixels."""
    draw = np.random.default_rng(background.seed)
    y, x = np.mgrid[0:1:64j, 0:1:64j]
    if background.kind == "plain":
        weight = np.zeros((64, 64))
    elif background.kind == "speckled":
        weight = draw.random((64, 64))
    else:
        angle = draw.uniform(0, math.pi)
        weight = np.clip(x * math.cos(angle) + y * math.sin(angle), 0, 1)
        if background.kind == "striped":
            weight = 0.5 + 0.5 * np.sin(weight * draw.uniform(10, 40))
    mixed = (1 - weight)[..., None] * background.first + weight[..., None] * background.second
    return Image.fromarray(mixed.round().astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)


def _outline(random: Random, shape: str | None, x: float, y: float, radius: float) -> tuple[Point, ...]:
    """The polygon of one shape, turned by up to 12 degrees, around (x, y)."""
    points = _OUTLINES[shape](random)
    angle = math.radians(random.uniform(-12, 12))
    cos, sin = math.cos(angle), math.sin(angle)
    return tuple((x + radius * (a * cos - b * sin), y + radius * (a * sin + b * cos)) for a, b in points)


def _polar(angle: float, radius: float = 1.0) -> Point:
    """Angle in turns, clockwise from the top."""
    return radius * math.sin(2 * math.pi * angle), -radius * math.cos(2 * math.pi * angle)


def _circle(_: Random) -> list[Point]:
    return [_polar(step / 48) for step in range(48)]


def _square(_: Random) -> list[Point]:
    return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]


def _triangle(_: Random) -> list[Point]:
    return [(0, -0.95), (0.98, 0.8), (-0.98, 0.8)]


def _star(random: Random) -> list[Point]:
    inner = random.uniform(0.38, 0.46)
    return [_polar(step / 10, inner if step % 2 else 1.0) for step in range(10)]


def _heart(_: Random) -> list[Point]:
    # The classic heart curve, x = 16 sin³t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t, scaled to the unit circle.
    turns = [2 * math.pi * step / 48 for step in range(48)]
    return [
        (
            math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16 - 0.1,
        )
        for t in turns
    ]


def _cross(random: Random) -> list[Point]:
    arm = random.uniform(0.26, 0.34)
    corners = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
    return [(float(a), float(b)) for a, b in corners] + [(-float(a), -float(b)) for a, b in corners]


def _blob(random: Random) -> list[Point]:
    """An outline that has no name: a closed curve of random harmonics."""
    waves = [(order, random.uniform(0, 0.25), random.random()) for order in (2, 3, 4, 5)]
    radii = [1 + sum(a * math.sin(2 * math.pi * (k * step / 40 + p)) for k, a, p in waves) for step in range(40)]
    return [_polar(step / 40, radius / max(radii)) for step, radius in enumerate(radii)]


_OUTLINES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "cross": _cross,
    None: _blob,
}


def caption(scene: Scene, language: str = "en") -> str:
    """What the picture shows: "a red circle and a blue square", in "en" or "zh"."""
    if language == "zh":
        return "和".join(f"一个{CHINESE[t.colour or '']}的{CHINESE[t.shape or '']}" for t in scene.things)
    names = [f"{article(t.colour)} {t.colour} {t.shape}" for t in scene.things]
    return join(names)


def article(word: str | None) -> str:
    """The English indefinite article of a word."""
    return "an" if word and word[0] in "aeiou" else "a"


def join(parts: list[str]) -> str:
    """An English list: "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
