"""Conversations in OpenAI's shape: read, checked, and the question put at their end. It knows nothing of models."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from tritone.errors import InvalidInput
from tritone.media import encoded

Role = Literal["user", "system", "assistant"]
# JSON may have so many characters for each one that a conversation may have: quotes, keys and \u4f60 for 你.
JSON_FOR_A_CHARACTER = 16
# How a string of JSON begins that holds a file: as a data URL, or with more base64 than any word has letters.
_MEDIA = re.compile(r"(?i:data:)|[A-Za-z0-9+/\\]{64}")


class ImagePart(BaseModel):
    """Stands for the next picture of `image_bytes`."""

    type: Literal["image"]


class TextPart(BaseModel):
    """Words of a turn."""

    type: Literal["text"]
    text: str


class ImageUrl(BaseModel):
    """A picture as a `data:` URL; OpenAI's `detail` changes nothing here."""

    url: str


class ImageUrlPart(BaseModel):
    """A picture that comes along."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(BaseModel):
    """A sound file in base64; its `format` is told by its first bytes."""

    data: str


class InputAudioPart(BaseModel):
    """Something said."""

    type: Literal["input_audio"]
    input_audio: InputAudio


Part = Annotated[ImagePart | TextPart | ImageUrlPart | InputAudioPart, Field(discriminator="type")]


def _role(value: object) -> object:
    return "system" if value == "developer" else value  # OpenAI's newer name


class Message(BaseModel):
    """One turn of a conversation, in OpenAI's shape."""

    role: Annotated[Role, BeforeValidator(_role)]
    content: str | list[Part]

    @property
    def pictures(self) -> int:
        """How many pictures of `image_bytes` the turn shows."""
        return sum(isinstance(part, ImagePart) for part in self.content)

    @property
    def parts(self) -> list[Part]:
        """The content, a plain string as the one part that it is."""
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content

    @property
    def texts(self) -> list[str]:
        """The words of the turn."""
        return [part.text for part in self.parts if isinstance(part, TextPart)]


class File(NamedTuple):
    """A picture or a sound of a conversation, encoded."""

    name: str  # where it came from, for sentences
    data: bytes


_MESSAGES = TypeAdapter(list[Message])


def read(messages: str, max_characters: int) -> list[Message]:
    """The turns in a JSON list of messages; none for an empty text.

    `max_characters` is what all turns may have together: JSON that could not be so little is not looked at.

    Raises: InvalidInput: naming the place.
    """
    most = JSON_FOR_A_CHARACTER * max_characters
    if len(messages) > most and (size := _beside_media(messages, most)) > most:
        raise InvalidInput(f"messages have {size} or more characters of JSON beside their media, the limit is {most}")
    try:
        return _MESSAGES.validate_json(messages or "[]")
    except ValidationError as error:
        fault = max(error.errors(include_input=False), key=lambda each: len(each["loc"]))
        # Without pydantic's own names of what a union may be.
        names = [str(name) for name in fault["loc"] if "[" not in str(name) and name != "str"]
        raise InvalidInput(f"messages at {'.'.join(names) or 'the start'}: {fault['msg']}") from None


def _beside_media(messages: str, enough: int) -> int:
    """How many characters of JSON are no media; it stops to count behind `enough`.

    Quotes within strings do no harm: what follows one that closes a string never begins as media do.
    """
    beside, place = 0, 0
    while place < len(messages) and beside <= enough:
        quote = messages.find('"', place)
        end = len(messages) if quote < 0 else quote
        beside += 1 if _MEDIA.match(messages, place, end) else end - place + 1
        place = end + 1
    return beside


def written(turns: Sequence[Message]) -> str:
    """The turns as `read` reads them."""
    return _MESSAGES.dump_json(list(turns)).decode()


def check_characters(turns: Sequence[Message], max_characters: int) -> None:
    """Raises: InvalidInput: the turns have more words than `max_characters` letters; media do not count."""
    if (length := sum(len(text) for turn in turns for text in turn.texts)) > max_characters:
        raise InvalidInput(f"text_input and messages have {length} characters, the limit is {max_characters}")


def check_ends_with_question(turns: Sequence[Message]) -> None:
    """Raises: InvalidInput: the last turn is not a user's."""
    if not turns or turns[-1].role != "user":
        raise InvalidInput("text_input is missing, and messages do not end with a user's turn: ask a question")


def with_question(history: Sequence[Message], question: str | None, pictures: int) -> list[Message]:
    """The conversation with the question as its last turn, which shows the pictures that no earlier turn does.

    Without a question the last turn of the history is it.

    Raises: InvalidInput: there is no question, or the turns show more than the `pictures` of `image_bytes`.
    """
    shown = sum(message.pictures for message in history)
    if shown > pictures:
        raise InvalidInput(f"messages show {shown} pictures, but image_bytes holds {pictures}")
    if question is None:
        check_ends_with_question(history)
        *history, last = history
        if not any(text.strip() for text in last.texts):
            raise InvalidInput("the last turn of messages has no words: ask a question")
        words: list[Part] = last.parts
    else:
        words = [TextPart(type="text", text=question.strip())]
    parts: list[Part] = [ImagePart(type="image")] * (pictures - shown)
    return [*history, Message(role="user", content=[*parts, *words])]


def shown(turns: Sequence[Message], image_bytes: Sequence[bytes]) -> tuple[list[Message], list[File]]:
    """All pictures in the order in which the turns show them, and the turns with a plain place for each.

    Raises: InvalidInput: a turn is to be heard.
    """
    given = iter(image_bytes)
    pictures: list[File] = []
    plain = []
    for number, turn in enumerate(turns):
        parts: list[Part] = []
        for place, part in enumerate(turn.parts):
            where = f"messages at {number}.content.{place}.{part.type}"
            if isinstance(part, InputAudioPart):
                raise InvalidInput(f"{where}: llava cannot hear; ask voice_assistant_stream")
            if isinstance(part, ImageUrlPart):
                pictures.append(File(where, part.image_url.url.encode()))
            elif isinstance(part, ImagePart):
                pictures.append(File("image_bytes", next(given)))
            parts.append(part if isinstance(part, TextPart) else ImagePart(type="image"))
        plain.append(Message(role=turn.role, content=parts))
    return plain, pictures


def holders(files: Sequence[File]) -> str:
    """Who has them, for a sentence."""
    return "image_bytes holds" if all(file.name == "image_bytes" for file in files) else "image_bytes and messages hold"


def decoded(files: Sequence[File], max_bytes: int) -> list[File]:
    """The files themselves, where they came as text.

    Raises: InvalidInput: broken text, or one of more than `max_bytes`.
    """
    return [File(name, encoded.read(data, name, max_bytes)) for name, data in files]


def sounds(turns: Sequence[Message]) -> list[File]:
    """What is to be heard, in the order of the turns."""
    return [
        File(f"messages at {number}.content.{place}.input_audio", part.input_audio.data.encode())
        for number, turn in enumerate(turns)
        for place, part in enumerate(turn.parts)
        if isinstance(part, InputAudioPart)
    ]


def heard(turns: Sequence[Message], words: Iterator[str]) -> list[Message]:
    """The turns with the next of `words` in place of each sound."""

    def said(part: Part) -> Part:
        return TextPart(type="text", text=next(words)) if isinstance(part, InputAudioPart) else part

    return [
        turn if isinstance(turn.content, str) else Message(role=turn.role, content=[said(part) for part in turn.parts])
        for turn in turns
    ]


def refuse_controls(turns: Sequence[Message], controls: Sequence[str]) -> None:
    """Raises: InvalidInput: words that a tokenizer would read as what they stand for, such as the end of a turn."""
    for words in (text for message in turns for text in message.texts):
        if control := next((token for token in controls if token in words), None):
            raise InvalidInput(f"text_input and messages must not hold '{control}', which steers the model")
