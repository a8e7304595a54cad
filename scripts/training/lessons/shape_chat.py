"""Small talk of the tiny LLaVA, from shape_chat.toml: greetings and questions about the assistant itself."""

import tomllib
from itertools import chain
from pathlib import Path
from random import Random

from lessons.exchanges import LANGUAGES, Exchange

_TALK = tomllib.loads(Path(__file__).with_name("shape_chat.toml").read_text(encoding="utf-8"))
# Per language: (what people say, the answer).
CHAT = {language: [(talk["questions"], talk["answer"]) for talk in _TALK[language]] for language in LANGUAGES}


def chat(random: Random, language: str) -> Exchange:
    """A greeting or a question about the assistant itself, and what it says."""
    questions, answer = random.choice(CHAT[language])
    return Exchange("chat", language, random.choice(questions), answer)


def every_text() -> list[str]:
    """All fixed sentences, for the tokenizer's training text."""
    exchanges = chain.from_iterable(CHAT.values())
    return [text for questions, answer in exchanges for text in (*questions, answer)]
