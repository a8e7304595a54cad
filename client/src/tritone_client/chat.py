"""A conversation that remembers what was said and shown."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import Any, Unpack

from tritone_client.calls.options import Answering
from tritone_client.exceptions import InvalidInput
from tritone_client.media import image_bytes, off_the_loop
from tritone_client.types import Answer, AnswerChunk, ImageLike


class _History:
    """What was said and shown."""

    def __init__(self, system: str | None, options: Answering) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self.images: list[bytes] = []  # all that `messages` show, in order
        self._options = options

    def _asked(self, pictures: list[bytes], options: Answering) -> dict[str, Any]:
        """The arguments of `ask` with the whole history."""
        return {**self._options, **options, "images": [*self.images, *pictures], "messages": self.messages}

    def _remember(self, question: str, pictures: list[bytes], answer: str) -> None:
        shown = [{"type": "image"} for _ in pictures]
        self.messages += [
            {"role": "user", "content": [*shown, {"type": "text", "text": question}]},
            {"role": "assistant", "content": answer},
        ]
        self.images += pictures


class Chat(_History):
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
        **options: Unpack[Answering],
    ) -> None:
        super().__init__(system, options)
        self._ask, self._ask_stream = ask, ask_stream

    def ask(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        **options: Unpack[Answering],
    ) -> Answer:
        """The next turn; the arguments are those of `Client.ask` without `messages`."""
        pictures = _pictures(image, images)
        answer = self._ask(question, **self._asked(pictures, options))
        self._remember(question, pictures, answer.text)
        return answer

    def ask_stream(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        **options: Unpack[Answering],
    ) -> Generator[AnswerChunk, None, None]:
        """The next turn, piece by piece, as `Client.ask_stream`; it is remembered once the last piece has come."""
        pictures, said = _pictures(image, images), ""
        for chunk in self._ask_stream(question, **self._asked(pictures, options)):
            said += chunk.text
            yield chunk
        self._remember(question, pictures, said)


class AsyncChat(_History):
    """As `Chat`, of an `AsyncClient`."""

    def __init__(
        self,
        ask: Callable[..., Awaitable[Answer]],
        ask_stream: Callable[..., AsyncGenerator[AnswerChunk, None]],
        *,
        system: str | None = None,
        **options: Unpack[Answering],
    ) -> None:
        super().__init__(system, options)
        self._ask, self._ask_stream = ask, ask_stream

    async def ask(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        **options: Unpack[Answering],
    ) -> Answer:
        """As `Chat.ask`."""
        pictures = await off_the_loop(lambda: _pictures(image, images), image, images)
        answer = await self._ask(question, **self._asked(pictures, options))
        self._remember(question, pictures, answer.text)
        return answer

    async def ask_stream(
        self,
        question: str,
        image: ImageLike | None = None,
        *,
        images: Sequence[ImageLike] | None = None,
        **options: Unpack[Answering],
    ) -> AsyncGenerator[AnswerChunk, None]:
        """As `Chat.ask_stream`."""
        pictures, said = await off_the_loop(lambda: _pictures(image, images), image, images), ""
        async with contextlib.aclosing(self._ask_stream(question, **self._asked(pictures, options))) as chunks:
            async for chunk in chunks:
                said += chunk.text
                yield chunk
        self._remember(question, pictures, said)


def _pictures(image: ImageLike | None, images: Sequence[ImageLike] | None) -> list[bytes]:
    """The turn's own pictures, read now: a file may be another by the next turn.

    Raises: InvalidInput: both are given.
    """
    if image is not None and images is not None:
        raise InvalidInput("image and images are both given: put all pictures into images")
    return [image_bytes(picture) for picture in ([image] if image is not None else images or ())]
