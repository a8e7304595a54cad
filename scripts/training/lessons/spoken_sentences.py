"""English sentences to be spoken, for the training of the tiny aligner: common words, names, places, talk of shapes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from random import Random

from faker import Faker

from lessons.shape_questions import ask
from tritone.vision.shapes import draw_scene

HELD_OUT = 14  # one in so many words is never trained on
# Small words between the random ones, so that sentences have the rhythm of speech.
SMALL = ("the", "a", "of", "to", "in", "and", "is", "was", "it", "for", "on", "with", "that", "this", "you", "I", "we")


def is_held_out(word: str) -> bool:
    """Whether a word is kept for the evaluation."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    return len(letters) > 3 and zlib.crc32(letters.encode()) % HELD_OUT == 0


def sentences(seed: int, *, held_out: bool) -> Iterator[str]:
    """Endless sentences of letters, spaces and `,.?'`; with at least one held-out word each, or with none at all."""
    random, faker = Random(seed), Faker("en_US")
    faker.seed_instance(seed)
    while True:
        text = _plain(random.choice((_words, _words, _phrase, _person, _place, _shapes))(random, faker))
        if held_out == any(map(is_held_out, text.split())) and 3 <= len(text.split()) <= 14:
            yield text


def _words(random: Random, faker: Faker) -> str:
    words = [random.choice(SMALL) if random.random() < 0.3 else faker.word() for _ in range(random.randint(4, 11))]
    if len(words) > 6 and random.random() < 0.5:
        words[3] += ","
    return " ".join(words).capitalize() + random.choice(".?")


def _phrase(random: Random, faker: Faker) -> str:
    return f"{faker.catch_phrase()}, {faker.bs()}."


def _person(random: Random, faker: Faker) -> str:
    return f"{faker.name()} is {random.choice(('a', 'our', 'my', 'the new'))} {faker.job().lower()}."


def _place(random: Random, faker: Faker) -> str:
    return (
        f"{faker.first_name()} {random.choice(('lives in', 'went to', 'comes from'))} {faker.city()}, {faker.state()}."
    )


def _shapes(random: Random, faker: Faker) -> str:
    while not (exchange := ask(random, draw_scene(random), "en")):
        pass
    return random.choice((exchange.question, exchange.answer))


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^A-Za-z' ,.?]", " ", text.replace("Mr.", "Mister").replace("Mrs.", "Missus")).split())
