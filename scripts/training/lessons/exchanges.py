"""One question and its answer, in English ("en") or Chinese ("zh"), and how things of a scene are named in both."""

from dataclasses import dataclass
from random import Random

from tritone.vision.shapes import CHINESE, Scene, Thing

LANGUAGES = ("en", "zh")
PLACES = {
    "top left": "in the top left",
    "top": "at the top",
    "top right": "in the top right",
    "left": "on the left",
    "middle": "in the middle",
    "right": "on the right",
    "bottom left": "in the bottom left",
    "bottom": "at the bottom",
    "bottom right": "in the bottom right",
}


@dataclass(frozen=True)
class Exchange:
    """One question, its answer, and the kind of question for the score sheet."""

    kind: str
    language: str
    question: str
    answer: str


def name(thing: Thing, colour: bool, shape: bool, language: str) -> str:
    """The words for a thing, without article: "red circle", "red shape", "circle", "shape"."""
    if language == "zh":
        noun = CHINESE[thing.shape or ""] if shape else "图形"
        return f"{CHINESE[thing.colour or '']}的{noun}" if colour else noun
    noun = (thing.shape or "") if shape else "shape"
    return f"{thing.colour} {noun}" if colour else noun


def references(scene: Scene, thing: Thing) -> list[tuple[bool, bool]]:
    """The (says the colour, says the shape) that mean this thing and no other."""
    found = []
    for colour, shape in ((False, False), (False, True), (True, False), (True, True)):
        if (colour and not thing.colour) or (shape and not thing.shape):
            continue
        alike = [
            t
            for t in scene.things
            if (not colour or t.colour == thing.colour) and (not shape or t.shape == thing.shape)
        ]
        if len(alike) == 1:
            found.append((colour, shape))
    return found


def pick(
    random: Random, scene: Scene, colour: bool | None = None, shape: bool | None = None
) -> tuple[Thing, bool, bool] | None:
    """A thing and a way to name it; `colour`/`shape` False keeps that word out of the name."""
    choices = [
        (thing, says_colour, says_shape)
        for thing in scene.things
        for says_colour, says_shape in references(scene, thing)
        if not (colour is False and says_colour) and not (shape is False and says_shape)
    ]
    return random.choice(choices) if choices else None


def say(random: Random, kind: str, language: str, questions: tuple[str, ...], answer: str) -> Exchange:
    """One of the ways to ask, and the answer with a capital letter."""
    return Exchange(kind, language, random.choice(questions), answer[0].upper() + answer[1:])
