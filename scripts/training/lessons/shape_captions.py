"""Captions of the shapes world in English ("en") and Chinese ("zh"): many forms, each with what it says of the picture.

A caption names all things or only some, with or without colour, shape, size and place, in many turns of phrase, down
to a lone word. What it says is kept beside the words, so that training knows which other pictures it is true of.
"""

from dataclasses import dataclass, replace
from random import Random

from tritone.vision.shapes import CHINESE, COLOURS, HELD_OUT, POSITIONS, SHAPES, SIZES, Scene, Thing, article, join

LANGUAGES = ("en", "zh")
PLACES = {position: f"in the {position}" for position in POSITIONS} | {
    "top": "at the top",
    "bottom": "at the bottom",
    "left": "on the left",
    "right": "on the right",
}
FRAMES = {
    "en": (
        *("a picture of {}", "an image of {}", "a photo of {}", "a drawing of {}", "a picture with {}"),
        *("the picture shows {}", "there is {}", "this is {}", "I see {}", "show me {}", "find {}"),
    ),
    "zh": (
        *("一张{}的图片", "一张{}的照片", "一幅{}的图画", "图片里有{}", "图中有{}", "画里有{}", "有{}", "这是{}"),
        *("一张有{}的图片", "我看到{}", "找{}", "图上是{}", "图片中有{}"),
    ),
}  # fmt: skip
EXACT = 0.5  # of the captions are the bare words, without a frame


@dataclass(frozen=True)
class Part:
    """What a caption says of one thing; None: it does not say."""

    colour: str | None = None
    shape: str | None = None
    size: str | None = None
    position: str | None = None

    def is_of(self, thing: Thing) -> bool:
        """Whether all that it says is true of the thing."""
        said = (self.colour, self.shape, self.size, self.position)
        real = (thing.colour, thing.shape, thing.size, thing.position)
        return all(word is None or word == truth for word, truth in zip(said, real, strict=True))


@dataclass(frozen=True)
class Caption:
    """The words, and what they say. `whole`: nothing of the picture is left out."""

    text: str
    parts: tuple[Part, ...]
    whole: bool


def whole_caption(random: Random, scene: Scene, language: str) -> Caption:
    """Every thing with its colour and shape; now and then its size or place too."""
    size, position = random.random() < 0.1, random.random() < 0.1
    parts = [_part(thing, True, True, size, position) for thing in scene.things]
    if random.random() < 0.5:
        random.shuffle(parts)
    return Caption(phrase(random, parts, language), tuple(parts), whole=True)


def partial_caption(random: Random, scene: Scene, language: str) -> Caption:
    """Some of the things, and some of what can be said of them; often a word or two."""
    count = 1 if random.random() < 0.75 else random.randint(1, len(scene.things))
    # How much is said: (colour, shape) first, then size and place.
    colour, shape = random.choice(((True, True), (True, True), (True, False), (False, True)))
    size, position = random.random() < 0.15, random.random() < 0.15
    # What has no name is left out, but something is always said.
    parts = [
        _part(thing, colour or not thing.shape, shape or not thing.colour, size, position)
        for thing in random.sample(scene.things, count)
    ]
    return Caption(phrase(random, parts, language), tuple(parts), whole=False)


def wrong_caption(random: Random, caption: Caption, language: str) -> Caption:
    """The caption with two colours swapped or one word changed; it never names a held-out pair.

    Now and then it is true still, as when two triangles have swapped their colours.
    """
    while True:
        parts = list(caption.parts)
        index = random.randrange(len(parts))
        other = random.randrange(len(parts))
        if parts[index].colour != parts[other].colour and random.random() < 0.7:
            first, second = parts[index].colour, parts[other].colour
            parts[index], parts[other] = replace(parts[index], colour=second), replace(parts[other], colour=first)
        else:
            parts[index] = _change(random, parts[index])
        if not any((part.colour, part.shape) in HELD_OUT for part in parts):
            return Caption(phrase(random, parts, language), tuple(parts), caption.whole)


def _part(thing: Thing, colour: bool, shape: bool, size: bool, position: bool) -> Part:
    return Part(
        thing.colour if colour else None,
        thing.shape if shape else None,
        thing.size if size else None,
        thing.position if position else None,
    )


def _change(random: Random, part: Part) -> Part:
    """Another colour, shape, size or place in the stead of one that is said."""
    names = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES, "position": POSITIONS}
    said = [name for name in names if getattr(part, name)] or ["colour"]
    name = random.choice(said)
    return replace(part, **{name: random.choice([word for word in names[name] if word != getattr(part, name)])})


def phrase(random: Random, parts: list[Part], language: str) -> str:
    """The parts in words."""
    text = (_phrase_chinese if language == "zh" else _phrase_english)(random, parts)
    if random.random() > EXACT:
        text = random.choice(FRAMES[language]).format(text)
    if random.random() < 0.15:
        text += "。" if language == "zh" else "."
    return text


def _phrase_english(random: Random, parts: list[Part]) -> str:
    bare = random.random() < 0.2  # "red circle, blue square", as people type into a search box
    names = [_english(random, part, bare) for part in parts]
    if bare and random.random() < 0.5:
        return ", ".join(names)
    return join(names) if random.random() < 0.8 else " and ".join(names)


def _english(random: Random, part: Part, bare: bool) -> str:
    size = {"small": ("small", "small", "little"), "big": ("big", "big", "large")}
    words = [random.choice(size[part.size])] if part.size else []
    words += [part.colour] if part.colour else []
    alone = bare and part.colour and not part.shape and random.random() < 0.7
    if not words and not part.shape:
        name = "something"
    elif not part.shape and not bare and random.random() < 0.3:
        name = " ".join(["something", *words])
    else:
        words += [] if alone else [part.shape or random.choice(("shape", "thing", "object"))]
        name = " ".join(words) if bare else f"{article(words[0])} {' '.join(words)}"
    return f"{name} {PLACES[part.position]}" if part.position else name


def _phrase_chinese(random: Random, parts: list[Part]) -> str:
    bare = random.random() < 0.3
    names = [_chinese(random, part, bare) for part in parts]
    if random.random() < 0.7:
        return "和".join(names)
    comma = random.choice(("、", "，", " "))
    return comma.join(names)


def _chinese(random: Random, part: Part, bare: bool) -> str:
    colour = CHINESE[part.colour] if part.colour else ""
    shape = CHINESE[part.shape] if part.shape else ""
    if bare and colour and not shape and not part.size and random.random() < 0.7:
        name = colour
    else:
        shape = shape or random.choice(("图形", "东西", "形状"))
        size = CHINESE[part.size] if part.size else ""
        of = "的" if colour and random.random() < 0.7 else ""
        large = f"{size}的" if size and random.random() < 0.3 else size
        name = f"{colour}{of}{size}{shape}" if random.random() < 0.5 else f"{large}{colour}{of}{shape}"
        name = name if bare else f"一个{name}"
    if not part.position:
        return name
    place = CHINESE[part.position]
    return f"{place}的{name}" if bare or random.random() < 0.4 else f"{place}有{name}"
