"""Verbs of Stable Diffusion."""

from collections.abc import Generator

from tritone_client import _images
from tritone_client._connection import Connection
from tritone_client._types import (
    GeneratedImages,
    ImageLike,
    ImageProgress,
)


class ImageVerbs(Connection):
    """Verbs of a client, see `Client`."""

    def generate_image(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images: int | None = None,
        seed: int | None = None,
        scheduler: str | None = None,
        style: str | None = None,
        image: ImageLike | None = None,
        mask: ImageLike | None = None,
        strength: float | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> GeneratedImages:
        """Have pictures drawn.

        Args:
            height, width: pixels, multiples of 8; by default those of `image`, else the checkpoint's.
            guidance_scale: how closely the prompt is followed; 1 is not at all guided, and half the work.
            seed: of the first picture; the others count up from it. Drawn, and told, when None.
            scheduler: "ddim", "euler", "euler_a", "dpmpp_2m", "lms", "pndm" or "unipc".
            style: such as "oil painting" or "油画": adds words to the prompt and to `negative_prompt`.
            image: the picture to start from; with `mask` only its white part is painted anew.
            strength: how much of `image` may change, 0..1.
        """
        inputs = _images.generation_inputs(
            image,
            mask,
            prompt=prompt,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            num_images=num_images,
            seed=seed,
            scheduler=scheduler,
            style=style,
            strength=strength,
        )
        return self._send(_images.generate_image(self._delivery(timeout_s, request_id), inputs))

    def generate_image_stream(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_images: int | None = None,
        seed: int | None = None,
        scheduler: str | None = None,
        style: str | None = None,
        image: ImageLike | None = None,
        mask: ImageLike | None = None,
        strength: float | None = None,
        preview_interval: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Generator[ImageProgress | GeneratedImages, None, None]:
        """Like `generate_image`, with an `ImageProgress` after each step; the `GeneratedImages` come last.

        Closing the generator, or dropping it, cancels the request on the server within a step.

        Args:
            preview_interval: a preview comes along after every so many steps.
        """
        inputs = _images.generation_inputs(
            image,
            mask,
            prompt=prompt,
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            num_images=num_images,
            seed=seed,
            scheduler=scheduler,
            style=style,
            strength=strength,
        )
        call = _images.generate_image_stream(self._delivery(timeout_s, request_id), inputs, preview_interval)
        return self._stream(call, lambda part: isinstance(part, GeneratedImages))
