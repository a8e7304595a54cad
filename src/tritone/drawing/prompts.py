"""The prompt optimiser: a style's words and words of quality for a picture, and what the picture should not be.

Styles are data, in `styles.toml`; a file of the user's own adds to them. A style has names in several languages. A
word that the prompt has already is never added again.
"""

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tritone.errors import InvalidInput


class Style(BaseModel):
    """A style as the TOML file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = ()
    words: tuple[str, ...]
    negative: tuple[str, ...] = ()


class Styles(BaseModel):
    """All styles by name, words of quality, and the default negative prompt's words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quality: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    styles: dict[str, Style] = {}

    def find(self, name: str) -> Style:
        """The style of a name, in any of its languages.

        Raises: InvalidInput: naming the known styles.
        """
        wanted = name.strip().casefold()
        for known, style in self.styles.items():
            if wanted in (alias.casefold() for alias in (known, *style.names)):
                return style
        known_names = ", ".join(f"{known}/{style.names[0]}" if style.names else known
                                for known, style in self.styles.items())  # fmt: skip
        raise InvalidInput(f"style is {name[:40]!r}; it must be one of: {known_names}")


@dataclass(frozen=True)
class OptimisedPrompt:
    """What the text encoder is given."""

    prompt: str
    negative_prompt: str


@functools.cache
def read_styles(path: Path | None = None) -> Styles:
    """The styles of the project, with those of `path` added or in their place.

    Raises: pydantic.ValidationError, tomllib.TOMLDecodeError: the file is not of the form of `styles.toml`.
    """
    own = _parse(resources.files("tritone.drawing").joinpath("styles.toml").read_text(encoding="utf-8"))
    if path is None:
        return own
    added = _parse(path.read_text(encoding="utf-8"))
    return Styles(
        quality=added.quality or own.quality,
        negative=added.negative or own.negative,
        styles={**own.styles, **added.styles},
    )


def _parse(toml: str) -> Styles:
    content: dict[str, Any] = tomllib.loads(toml)
    return Styles.model_validate(content)


def optimise(prompt: str, negative_prompt: str, style: str, styles: Styles) -> OptimisedPrompt:
    """Put a style's words and the words of quality after the prompt, and what they exclude into the negative prompt.

    Nothing that the user wrote is changed. A word that the prompt asks for is not excluded either.
    """
    chosen = styles.find(style)
    wanted = join(prompt, (*chosen.words, *styles.quality))
    unwanted = [word for word in (*chosen.negative, *styles.negative) if not _has(wanted, word)]
    return OptimisedPrompt(wanted, join(negative_prompt, unwanted))


def join(text: str, words: tuple[str, ...] | list[str]) -> str:
    """The text with those words after it, by commas, that it does not have yet."""
    parts = [text.strip().rstrip(",，")] if text.strip() else []
    for word in words:
        if not _has(", ".join(parts), word):
            parts.append(word)
    return ", ".join(parts)


def _has(text: str, word: str) -> bool:
    """Whether the text has this word or phrase, as a whole and in any case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None
