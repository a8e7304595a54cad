"""Verbs of Stable Diffusion."""

from collections.abc import AsyncGenerator, Generator
from typing import Unpack

from tritone_client.calls import images
from tritone_client.calls.options import Drawing
from tritone_client.types import GeneratedImages, ImageProgress
from tritone_client.verbs.async_connection import AsyncConnection
from tritone_client.verbs.connection import Connection


class ImageVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def generate_image(self, prompt: str, **options: Unpack[Drawing]) -> GeneratedImages:
        """Have pictures drawn; options: see `Drawing`."""
        return self._send(images.generate_image(prompt, self._options(Drawing, options)))

    def generate_image_stream(
        self, prompt: str, *, preview_interval: int | None = None, **options: Unpack[Drawing]
    ) -> Generator[ImageProgress | GeneratedImages, None, None]:
        """Like `generate_image`, with an `ImageProgress` after each step; the `GeneratedImages` come last.

        Closing the generator, or dropping it, cancels the request on the server within a step.

        Args:
            preview_interval: a preview comes along after every so many steps.
        """
        return self._stream(images.generate_image_stream(prompt, preview_interval, self._options(Drawing, options)))


class AsyncImageVerbs(AsyncConnection):
    """Verbs of a client, see `AsyncClient`."""

    async def generate_image(self, prompt: str, **options: Unpack[Drawing]) -> GeneratedImages:
        """As `Client.generate_image`."""
        given = self._options(Drawing, options)
        return await self._send(lambda: images.generate_image(prompt, given), given.get("image"), given.get("mask"))

    def generate_image_stream(
        self, prompt: str, *, preview_interval: int | None = None, **options: Unpack[Drawing]
    ) -> AsyncGenerator[ImageProgress | GeneratedImages, None]:
        """As `Client.generate_image_stream`."""
        given = self._options(Drawing, options)
        return self._stream(
            lambda: images.generate_image_stream(prompt, preview_interval, given), given.get("image"), given.get("mask")
        )
