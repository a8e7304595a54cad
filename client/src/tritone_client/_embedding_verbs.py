"""Verbs of CLIP: vectors of texts and pictures, and what is like what."""

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tritone_client import _embeddings
from tritone_client._connection import Connection
from tritone_client._embeddings import Match, TextTruncated
from tritone_client._types import (
    ImageLike,
)


class EmbeddingVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def embed_text(
        self, texts: str | Sequence[str], *, timeout_s: float | None = None, request_id: str | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (texts, width) of texts, in the space of `embed_images`; a dot product is a likeness.

        Many requests are in flight at a time, so that the server makes batches of them; `timeout_s` is of each. Warns
        with TextTruncated where a text was longer than the model reads.
        """
        listed, delivery = _embeddings.texts_of(texts), self._delivery(timeout_s, request_id)
        found = _embeddings.all_of(
            "texts",
            len(listed),
            _embeddings.each(
                lambda index, text: self._send(_embeddings.embed_text(_embeddings.numbered(delivery, index), text)),
                listed,
            ),
        )
        if cut := [index for index, embedding in enumerate(found) if embedding.truncated]:
            message = f"{len(cut)} of {len(found)} texts are longer than the model reads and were cut: texts{cut[:10]}"
            warnings.warn(message, TextTruncated, stacklevel=2)
        return _embeddings.stack([embedding.vector for embedding in found])

    def embed_images(
        self, images: ImageLike | Sequence[ImageLike], *, timeout_s: float | None = None, request_id: str | None = None
    ) -> npt.NDArray[np.float32]:
        """Unit vectors float32 (pictures, width) of pictures, many in flight like those of `embed_text`.

        Args:
            images: a list of paths, bytes, Pillow images or uint8 arrays (height, width, 3); or a single one.
        """
        listed, delivery = _embeddings.images_of(images), self._delivery(timeout_s, request_id)
        found = _embeddings.each(
            lambda index, image: self._send(_embeddings.embed_image(_embeddings.numbered(delivery, index), image)),
            listed,
        )
        return _embeddings.stack(_embeddings.all_of("images", len(listed), found))

    def embed(self, query: str | ImageLike) -> npt.NDArray[np.float32]:
        """The unit vector of a text (any str) or of a picture (anything else; a file as a Path), float32 (width,)."""
        vectors = self.embed_text(query) if isinstance(query, str) else self.embed_images([query])
        return vectors.reshape(-1)

    def rank(self, query: str | ImageLike, candidates: Sequence[str | ImageLike]) -> list[Match]:
        """The candidates, best match first. Every str is a text; pictures are anything else, a file as a Path.

        >>> client.rank("a red circle", [Path("one.png"), Path("two.png")])[0].candidate
        >>> client.rank(Path("one.png"), ["a circle", "a square"])[0].score
        """
        texts = [index for index, item in enumerate(candidates) if isinstance(item, str)]
        pictures = [index for index, item in enumerate(candidates) if not isinstance(item, str)]
        vectors = [
            *self.embed_text([str(candidates[index]) for index in texts]),
            *self.embed_images([candidates[index] for index in pictures]),
        ]
        order = np.argsort([*texts, *pictures], kind="stable")
        return _embeddings.rank(self.embed(query), _embeddings.stack([vectors[row] for row in order]), candidates)
