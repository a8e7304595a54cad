"""Conversations in OpenAI's shape: read, checked, and the question put at their end. It knows nothing of models."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from tritone.errors import InvalidInput

Role = Literal["user", "system", "assistant"]


class ImagePart(BaseModel):
    """Stands for the next picture of `image_bytes`."""

    type: Literal["image"]


class TextPart(BaseModel):
    """Words of a turn."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn of a conversation, in OpenAI's shape."""

    role: Role
    content: str | list[ImagePart | TextPart]

    @property
    def pictures(self) -> int:
        """How many pictures the turn shows."""
        return sum(isinstance(part, ImagePart) for part in self.content)

    @property
    def parts(self) -> list[ImagePart | TextPart]:
        """The content, a plain string as the one part that it is."""
        return [TextPart(type="text", text=self.content)] if isinstance(self.content, str) else self.content

    @property
    def texts(self) -> list[str]:
        """The words of the turn."""
        return [part.text for part in self.parts if isinstance(part, TextPart)]


_MESSAGES = TypeAdapter(list[Message])


def read(messages: str) -> list[Message]:
    """The turns in a JSON list of messages; none for an empty text.

    Raises: InvalidInput: naming the place.
    """
    try:
        return _MESSAGES.validate_json(messages or "[]")
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidInput(f"messages at {'.'.join(map(str, fault['loc'])) or 'the start'}: {fault['msg']}") from None


def with_question(history: Sequence[Message], question: str, pictures: int) -> list[Message]:
    """The conversation with the question as its last turn, which shows the pictures that no earlier turn does.

    Raises: InvalidInput: the turns show more pictures than there are.
    """
    shown = sum(message.pictures for message in history)
    if shown > pictures:
        raise InvalidInput(f"messages show {shown} pictures, but image_bytes holds {pictures}")
    parts: list[ImagePart | TextPart] = [ImagePart(type="image")] * (pictures - shown)
    return [*history, Message(role="user", content=[*parts, TextPart(type="text", text=question.strip())])]


def refuse_controls(turns: Sequence[Message], controls: Sequence[str]) -> None:
    """Raises: InvalidInput: words that a tokenizer would read as what they stand for, such as the end of a turn."""
    for words in (text for message in turns for text in message.texts):
        if control := next((token for token in controls if token in words), None):
            raise InvalidInput(f"text_input and messages must not hold '{control}', which steers the model")
