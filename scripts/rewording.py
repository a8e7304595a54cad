"""A question the way people type it and speech recognisers write it, in English and Chinese."""

from random import Random

from shape_questions import Exchange


def reword(random: Random, exchange: Exchange) -> str:
    """The question as a person might type it or a speech recogniser write it; the meaning stays."""
    text = exchange.question
    if exchange.language == "zh":
        if exchange.kind not in ("chat", "description") and random.random() < 0.3:
            text = (
                random.choice(("图里", "图片里", "这张图里", "图中", "请问", "请问图里的", "图中的", "图片中的")) + text
            )
        return text if random.random() < 0.6 else text.rstrip("。？！")
    about_picture = exchange.kind not in ("chat", "description") and text.endswith("?") and "picture" not in text
    if about_picture and random.random() < 0.35:
        which = random.choice(("the", "this", "that", "my"))
        text = f"{text[:-1]} in {which} {random.choice(('picture', 'picture', 'image', 'photo'))}?"
    if random.random() < 0.15:
        text = (
            random.choice(("Hey, ", "Please, ", "Okay, ", "And ", "Well, ", "So, ", "Now, ", "Um, "))
            + text[0].lower()
            + text[1:]
        )
    if random.random() < 0.3:
        text = text.replace("color", "colour")
    return _retype(random, text)


def _retype(random: Random, text: str) -> str:
    """Other capitals, other punctuation."""
    if random.random() < 0.25:
        text = text.lower()
    if random.random() < 0.25:
        text = text.replace(",", "").replace("'", random.choice(("'", "’")))
    if random.random() < 0.25:
        text = text.rstrip(".?!")
    elif random.random() < 0.1:
        text = text.rstrip(".?!") + random.choice((".", "?", "!", "..."))
    return text
