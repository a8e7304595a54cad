"""What people ask about a picture of shapes, and the true answers, in English ("en") and Chinese ("zh")."""

from random import Random

from lessons.exchanges import Exchange
from lessons.scene_questions import (
    ask_absent,
    ask_bigger,
    ask_count,
    ask_description,
    ask_place,
    ask_presence,
    ask_side,
)
from lessons.thing_questions import ask_colour, ask_position, ask_shape, ask_size, ask_truth
from tritone.vision.shapes import Scene

QUESTIONS = (
    *(ask_colour, ask_colour, ask_shape, ask_shape, ask_count, ask_position, ask_place, ask_side, ask_size),
    *(ask_bigger, ask_description, ask_description, ask_presence, ask_truth, ask_absent),
)
NO_PICTURE = {
    "en": "I don't see a picture. Please show me one.",
    "zh": "我没有看到图片，请给我一张图片。",
}


def ask(random: Random, scene: Scene, language: str) -> Exchange:
    """Any question that the scene allows."""
    while not (exchange := random.choice(QUESTIONS)(random, scene, language)):
        pass
    return exchange


def ask_without_picture(random: Random, scene: Scene, language: str) -> Exchange:
    """A question about a picture that was not sent."""
    return Exchange("no picture", language, ask(random, scene, language).question, NO_PICTURE[language])
