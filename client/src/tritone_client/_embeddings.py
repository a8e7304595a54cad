"""Embeddings: the requests of `embed_text` and `embed_images`, many in flight at a time, and what is close to what."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from tritone_client import _models
from tritone_client._calls import Call, Delivery, Outputs, request
from tritone_client._exceptions import Error, InvalidInput
from tritone_client._media import image_bytes
from tritone_client._types import ImageLike

T = TypeVar("T")
R = TypeVar("R")
# The server makes batches of what waits for it, so enough must wait to fill one while another is computed.
IN_FLIGHT = 64


class TextTruncated(UserWarning):
    """A text was longer than the model reads; the embedding is that of its beginning."""


@dataclass(frozen=True)
class TextEmbedding:
    """A text's unit vector, and whether its end was cut off."""

    vector: npt.NDArray[np.float32]
    truncated: bool


@dataclass(frozen=True)
class Match:
    """A candidate and how well it goes with the query: the cosine of the angle between the two, −1..1."""

    index: int  # among the candidates
    score: float
    candidate: Any  # as it was given; in an `ImageIndex` the picture's Path


def embed_text(delivery: Delivery, text: str) -> Call[TextEmbedding]:
    """One text to its unit vector."""
    return Call(request(_models.CLIP_TEXT, delivery, {"text": text}), _text_embedding)


def embed_image(delivery: Delivery, image: ImageLike) -> Call[npt.NDArray[np.float32]]:
    """One picture to its unit vector."""
    return Call(request(_models.CLIP_IMAGE, delivery, {"image_bytes": image_bytes(image)}), _image_embedding)


def numbered(delivery: Delivery, index: int) -> Delivery:
    """The delivery of one item of a list: ids stay distinct."""
    return Delivery(delivery.timeout_s, delivery.request_id and f"{delivery.request_id}-{index}")


def each(work: Callable[[int, T], R], items: Iterable[T]) -> Iterator[R | Error]:
    """`work(index, item)` for each item, IN_FLIGHT at a time; in order, an Error in the place of a result it raised."""

    def attempt(index: int, item: T) -> R | Error:
        try:
            return work(index, item)
        except Error as error:
            return error

    if isinstance(items, Sequence) and len(items) == 1:  # no threads for a single one
        yield attempt(0, items[0])
        return
    waiting: deque[Future[R | Error]] = deque()
    pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="tritone-embed")
    try:
        for index, item in enumerate(items):
            waiting.append(pool.submit(attempt, index, item))
            if len(waiting) > IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def all_of(what: str, count: int, results: Iterable[R | Error]) -> list[R]:
    """The `count` results; the first Error is raised with its place in the list."""
    found = []
    for index, result in enumerate(results):
        if isinstance(result, Error) and count == 1:
            raise result
        if isinstance(result, Error):
            raise type(result)(
                f"{what}[{index}]: {result}", model=result.model, request_id=result.request_id
            ) from result
        found.append(result)
    return found


def stack(vectors: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Rows float32 (n, width); of nothing (0, 0), as the width is the server's."""
    return np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def rank(query: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32], candidates: Sequence[Any]) -> list[Match]:
    """The candidates, best first; equals keep their order."""
    if not candidates:
        return []
    scores = vectors @ query
    order = np.argsort(-scores, kind="stable")
    return [Match(int(index), float(scores[index]), candidates[index]) for index in order]


def texts_of(texts: str | Sequence[str]) -> list[str]:
    """A list of texts, also from a single one.

    Raises: InvalidInput: something that is no text, by its place.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    for index, text in enumerate(listed):
        if not isinstance(text, str):
            raise InvalidInput(f"texts[{index}] is a {type(text).__name__}, must be text")
    return listed


def images_of(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    """A list of pictures, also from a single one."""
    return list(images) if isinstance(images, (list, tuple)) else [cast(ImageLike, images)]


def _text_embedding(outputs: Outputs) -> TextEmbedding:
    return TextEmbedding(_vector(outputs, "text_embeds"), bool(outputs["truncated"][0, 0]))


def _image_embedding(outputs: Outputs) -> npt.NDArray[np.float32]:
    return _vector(outputs, "image_embeds")


def _vector(outputs: Outputs, name: str) -> npt.NDArray[np.float32]:
    return np.array(outputs[name][0], np.float32)  # copied: the wire's buffer is read-only
