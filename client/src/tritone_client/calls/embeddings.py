"""Calls to CLIP: vectors of texts and pictures, and what is close to what. See `call`."""

import copy
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from tritone_client.calls import models
from tritone_client.calls.call import Batch, Call, Outputs, request
from tritone_client.calls.options import Sending
from tritone_client.exceptions import Error, InvalidInput
from tritone_client.media import image_bytes
from tritone_client.types import ImageLike, Match, Matches

T = TypeVar("T")
Vector = npt.NDArray[np.float32]
PACKAGE = __name__.split(".")[0]


class TextTruncated(UserWarning):
    """A text was longer than the model reads; the embedding is that of its beginning."""


@dataclass(frozen=True)
class Embedding:
    """A unit vector, and whether the end of its text was cut off."""

    vector: Vector
    truncated: bool = False
    token_count: int = 0  # of its text, as far as it was read


@dataclass(frozen=True)
class Item:
    """A text or a picture of a list, and what its caller calls it: "texts[3]"."""

    place: str
    text: str | None
    image: ImageLike | None = None

    def call(self, sending: Sending) -> Call[Embedding]:
        """Its embedding."""
        if self.text is not None:
            return Call(request(models.CLIP_TEXT, sending, {"text": self.text}), _text_embedding)
        return Call(
            request(models.CLIP_IMAGE, sending, {"image_bytes": image_bytes(cast(ImageLike, self.image))}),
            _image_embedding,
        )


def embed_text(texts: str | Sequence[str], options: Sending) -> Batch[Embedding, Vector]:
    """Texts to unit vectors float32 (texts, width).

    Raises: InvalidInput: something that is no text, by its place.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInput(f"texts[{index}] is a {type(text).__name__}, must be text")
    return batch([Item(f"texts[{index}]", text) for index, text in enumerate(listed)], options, _stack)


def embed_images(images: ImageLike | Sequence[ImageLike], options: Sending) -> Batch[Embedding, Vector]:
    """Pictures to unit vectors float32 (pictures, width); a str is a path."""
    listed = list(images) if isinstance(images, (list, tuple)) else [cast(ImageLike, images)]
    return batch([Item(f"images[{index}]", None, image) for index, image in enumerate(listed)], options, _stack)


def embed_each(items: Sequence[str | ImageLike], options: Sending) -> Batch[Embedding, list[Embedding]]:
    """Texts (any str) and pictures (anything else), in any order, each with what there is to say of it."""
    listed = [_item(f"items[{index}]", item) for index, item in enumerate(items)]
    plain = batch(listed, options, list)
    return Batch(plain.media, plain.call, list, plain.failed)


def embed(query: str | ImageLike, options: Sending) -> Batch[Embedding, Vector]:
    """A text (any str) or a picture (anything else) to its unit vector float32 (width,)."""
    return batch([_item("the query", query)], options, lambda vectors: vectors[0])


def rank(query: str | ImageLike, candidates: Sequence[str | ImageLike], options: Sending) -> Batch[Embedding, Matches]:
    """Candidates, best first; equals keep their order."""

    def join(vectors: list[Vector]) -> Matches:
        scores = np.array([vector @ vectors[0] for vector in vectors[1:]])
        order = np.argsort(-scores, kind="stable")
        return Matches(Match(int(index), float(scores[index]), candidates[index]) for index in order)

    items = [_item(f"candidates[{index}]", candidate) for index, candidate in enumerate(candidates)]
    return batch([_item("the query", query), *items], options, join)


def batch(items: Sequence[Item], options: Sending, join: Callable[[list[Vector]], T]) -> Batch[Embedding, T]:
    """Items to vectors, and these joined; the first error ends it and names its item, and a text that is cut warns."""

    def failed(index: int, error: Error) -> Embedding:
        if len(items) == 1:
            raise error
        named = copy.copy(error)
        named.args = (f"{items[index].place}: {error}",)
        raise named from error

    def joined(embeddings: list[Embedding]) -> T:
        cut = [item.place for item, embedding in zip(items, embeddings, strict=True) if embedding.truncated]
        if cut:
            said = (
                f"{len(cut)} of {len(items)} texts are longer than the model reads and were cut: {', '.join(cut[:10])}"
            )
            warnings.warn(said, TextTruncated, stacklevel=_level_of_the_caller())
        return join([embedding.vector for embedding in embeddings])

    def call(index: int) -> Call[Embedding]:
        return items[index].call(numbered(options, index) if len(items) > 1 else options)

    return Batch([item.image for item in items], call, joined, failed)


def numbered(options: Sending, index: int) -> Sending:
    """How one item of a list is sent: ids stay distinct."""
    request_id = options.get("request_id")
    return {**options, "request_id": request_id and f"{request_id}-{index}"}


def _item(place: str, query: str | ImageLike) -> Item:
    return Item(place, query) if isinstance(query, str) else Item(place, None, query)


def _stack(vectors: Sequence[Vector]) -> Vector:
    """Rows float32 (n, width); of nothing (0, 0), as the width is the server's."""
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def _text_embedding(outputs: Outputs) -> Embedding:
    cut, tokens = bool(outputs["truncated"][0, 0]), int(outputs["token_count"][0, 0])
    return Embedding(_vector(outputs, "text_embeds"), cut, tokens)


def _image_embedding(outputs: Outputs) -> Embedding:
    return Embedding(_vector(outputs, "image_embeds"))


def _vector(outputs: Outputs, name: str) -> Vector:
    return np.array(outputs[name][0], np.float32)  # copied: the wire's buffer is read-only


def _level_of_the_caller() -> int:
    """The `stacklevel` of the nearest caller outside this package, whichever client he has."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].split(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    return level
