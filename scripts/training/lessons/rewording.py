"""A question the way people type it and speech recognisers write it, in English and Chinese; and its plain form."""

import re
from collections.abc import Callable
from random import Random

from lessons.exchanges import Exchange

# What `plain` writes differently, in this order, after lower-casing. "<" goes, so that no case of "<image>" is one.
MARKS = (
    *((quote, "'") for quote in "’‘`´＇"),
    *((mark, " ") for mark in '.,?!;:…~()<"“”-–—。，？！；：、～（）＜「」'),
)
# Whole words, and "color" within others too ("colours").
SPELLINGS = (
    *((f" {word}'s ", f" {word} is ") for word in ("what", "where", "who", "how", "that", "it", "here", "there")),
    *((f" {word}s ", f" {word} is ") for word in ("what", "where", "who", "how", "that")),
    ("colour", "color"),
    ("recognise", "recognize"),
    ("favourite", "favorite"),
)


def plain(question: str) -> str:
    """The question as the model reads it: lower case, no marks, single spaces (none in Chinese), one spelling."""
    text = question.lower()
    for written, read in MARKS:
        text = text.replace(written, read)
    text = f" {('' if text.upper() == text else ' ').join(text.split())} "
    for written, read in SPELLINGS:
        text = text.replace(written, read)
    return text.strip()


def plain_template() -> str:
    """`plain` as a Jinja macro, for the chat template."""
    marks, spellings = (
        "".join(f".replace({written!r}, {read!r})" for written, read in pairs) for pairs in (MARKS, SPELLINGS)
    )
    return (
        f"{{% macro plain(question) %}}{{% set text = question.lower(){marks} %}}"
        "{% set words = text.split() | join('' if text.upper() == text else ' ') %}"
        f"{{{{ (' ' ~ words ~ ' '){spellings}.strip() }}}}{{% endmacro %}}"
    )


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


def _without_mark(text: str) -> str:
    return text.rstrip(".?!。？！")


def _capitals_of_a_title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _other_width(text: str) -> str:
    return text.translate(str.maketrans(".,?!。，？！", "。，？！.,?!"))


def _hurried(text: str) -> str:
    """As on a telephone: no apostrophe, no mark, no capital."""
    return _without_mark(text.lower().replace("'", ""))


def _contracted(text: str) -> str:
    return re.sub(r"\b([Ww]hat|[Ww]here|[Ww]ho|[Hh]ow) is\b", r"\1's", text)


def _spelt_out(text: str) -> str:
    return re.sub(r"\b([Ww]hat|[Ww]here|[Ww]ho|[Hh]ow)'s\b", r"\1 is", text)


# Ways to write the same question that change no answer.
VARIANTS: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "capitals, no mark": lambda text: _without_mark(text).upper(),
    "lower case": str.lower,
    "lower case, no mark": lambda text: _without_mark(text).lower(),
    "title case": _capitals_of_a_title,
    "no final mark": _without_mark,
    "full stop": lambda text: _without_mark(text) + ("." if text.isascii() else "。"),
    "three stops": lambda text: _without_mark(text) + "...",
    "doubled mark": lambda text: _without_mark(text) + ("??" if text.isascii() else "？？"),
    "mixed marks": lambda text: _without_mark(text) + ("?!" if text.isascii() else "？！"),
    "other width": _other_width,
    "space before the mark": lambda text: f"{_without_mark(text)} {text[len(_without_mark(text)) :]}",
    "spaces around": lambda text: f"  {text.replace(' ', '  ')} \n",
    "spaces between characters": lambda text: text if text.isascii() else " ".join(text),
    "curly apostrophe": lambda text: text.replace("'", "’"),
    "British": lambda text: text.replace("olor", "olour").replace("recognize", "recognise"),
    "contracted": _contracted,
    "spelt out": _spelt_out,
    "hurried": _hurried,
    "quoted": lambda text: f"“{text}”",
}


def variants(question: str) -> dict[str, str]:
    """The same question in every other writing, by the writing's name; those that leave it as it is are missing."""
    written = {name: write(question) for name, write in VARIANTS.items()}
    return {name: text for name, text in written.items() if text != question}
