"""A conversation that remembers what was said and shown."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from tritone_client.exceptions import InvalidInput
from tritone_client.media import image_bytes
from tritone_client.types import Answer, AnswerChunk, ImageLike


class Chat:
    """A conversation with the language model: each turn knows the earlier ones and their pictures.

    >>> chat = client.chat()
    >>> chat.ask("What shape is this?", image="picture.png").text
    'The shape is a star.'
    >>> chat.ask("What color is it?").text
    'It is red.'

    A turn that fails, or whose stream is left early, is not remembered. The whole history is sent with every turn:
    the server keeps nothing.

    Args:
        ask, ask_stream: how a turn is asked: `Client.ask` and `Client.ask_stream`, or what takes their arguments.
        system: how the model should behave; the first turn of the history.
        options: those of `ask`, for every turn.
    """

    def __init__(
        self,
        ask: Callable[..., Answer],
        ask_stream: Callable[..., Generator[AnswerChunk, None, None]],
        *,
        system: str | None = None,
        **options: Any,
    ) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self.images: list[bytes] = []  # all that `messages` show, in order
        self._ask, self._ask_stream, self._options = ask, ask_stream, options

    def ask(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        **options: Any,
    ) -> Answer:
        """The next turn; the arguments are those of `Client.ask` without `messages`."""
        pictures = _pictures(image, images)
        answer = self._ask(question, **self._history(pictures), **{**self._options, **options})
        self._remember(question, pictures, answer.text)
        return answer

    def ask_stream(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        **options: Any,
    ) -> Generator[AnswerChunk, None, None]:
        """The next turn, piece by piece, as `Client.ask_stream`; it is remembered once the last piece has come."""
        pictures, said = _pictures(image, images), ""
        for chunk in self._ask_stream(question, **self._history(pictures), **{**self._options, **options}):
            said += chunk.text
            yield chunk
        self._remember(question, pictures, said)

    def _history(self, pictures: list[bytes]) -> dict[str, Any]:
        return {"images": [*self.images, *pictures], "messages": self.messages}

    def _remember(self, question: str, pictures: list[bytes], answer: str) -> None:
        shown = [{"type": "image"} for _ in pictures]
        self.messages += [
            {"role": "user", "content": [*shown, {"type": "text", "text": question}]},
            {"role": "assistant", "content": answer},
        ]
        self.images += pictures


def _pictures(image: ImageLike | None, images: Sequence[ImageLike] | None) -> list[bytes]:
    """The turn's own pictures, read now: a file may be another by the next turn.

    Raises: InvalidInput: both are given.
    """
    if image is not None and images is not None:
        raise InvalidInput("image and images are both given: put all pictures into images")
    return [image_bytes(picture) for picture in ([image] if image is not None else images or ())]
