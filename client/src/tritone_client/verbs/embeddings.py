"""Verbs of CLIP: vectors of texts and pictures, and what is like what."""

from collections.abc import Sequence
from typing import Unpack

from tritone_client.calls import embeddings
from tritone_client.calls.embeddings import Embedding, Vector
from tritone_client.calls.options import Sending
from tritone_client.types import ImageLike, Matches
from tritone_client.verbs.async_connection import AsyncConnection
from tritone_client.verbs.connection import Connection


class EmbeddingVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def embed_text(self, texts: str | Sequence[str], **options: Unpack[Sending]) -> Vector:
        """Unit vectors float32 (texts, width) of texts, in the space of `embed_images`; a dot product is a likeness.

        Many requests are in flight at a time, so that the server makes batches of them; `timeout_s` is of each. Warns
        with TextTruncated where a text was longer than the model reads.
        """
        return self._send_all(embeddings.embed_text(texts, self._options(Sending, options)))

    def embed_images(self, images: ImageLike | Sequence[ImageLike], **options: Unpack[Sending]) -> Vector:
        """Unit vectors float32 (pictures, width) of pictures, many in flight like those of `embed_text`.

        Args:
            images: a list of paths, bytes, file objects, Pillow images or uint8 arrays (height, width, 3); or one.
        """
        return self._send_all(embeddings.embed_images(images, self._options(Sending, options)))

    def embed_each(self, items: Sequence[str | ImageLike], **options: Unpack[Sending]) -> list[Embedding]:
        """Texts (any str) and pictures (anything else), each with its vector, its tokens, and whether it was cut."""
        return self._send_all(embeddings.embed_each(items, self._options(Sending, options)))

    def embed(self, query: str | ImageLike, **options: Unpack[Sending]) -> Vector:
        """The unit vector of a text (any str) or of a picture (anything else; a file as a Path), float32 (width,)."""
        return self._send_all(embeddings.embed(query, self._options(Sending, options)))

    def rank(
        self, query: str | ImageLike, candidates: Sequence[str | ImageLike], **options: Unpack[Sending]
    ) -> Matches:
        """The candidates, best match first. Every str is a text; pictures are anything else, a file as a Path.

        >>> client.rank("a red circle", [Path("one.png"), Path("two.png")])[0].candidate
        >>> client.rank(Path("one.png"), ["a circle", "a square"])[0].score
        """
        return self._send_all(embeddings.rank(query, candidates, self._options(Sending, options)))


class AsyncEmbeddingVerbs(AsyncConnection):
    """Verbs of a client, see `AsyncClient`."""

    async def embed_text(self, texts: str | Sequence[str], **options: Unpack[Sending]) -> Vector:
        """As `Client.embed_text`."""
        given = self._options(Sending, options)
        return await self._send_all(embeddings.embed_text(texts, given))

    async def embed_images(self, images: ImageLike | Sequence[ImageLike], **options: Unpack[Sending]) -> Vector:
        """As `Client.embed_images`."""
        given = self._options(Sending, options)
        return await self._send_all(embeddings.embed_images(images, given))

    async def embed_each(self, items: Sequence[str | ImageLike], **options: Unpack[Sending]) -> list[Embedding]:
        """As `Client.embed_each`."""
        given = self._options(Sending, options)
        return await self._send_all(embeddings.embed_each(items, given))

    async def embed(self, query: str | ImageLike, **options: Unpack[Sending]) -> Vector:
        """As `Client.embed`."""
        given = self._options(Sending, options)
        return await self._send_all(embeddings.embed(query, given))

    async def rank(
        self, query: str | ImageLike, candidates: Sequence[str | ImageLike], **options: Unpack[Sending]
    ) -> Matches:
        """As `Client.rank`."""
        given = self._options(Sending, options)
        return await self._send_all(embeddings.rank(query, candidates, given))
