"""The verbs that make pictures, as requests and the way to read their answers. See `_calls`."""

from typing import Any

import numpy as np

from tritone_client import _models
from tritone_client._calls import Call, Delivery, Outputs, request, text_of
from tritone_client._media import image_bytes
from tritone_client._types import GeneratedImage, GeneratedImages, ImageLike, ImageProgress


def generation_inputs(image: ImageLike | None, mask: ImageLike | None, **wishes: Any) -> dict[str, Any]:
    """The inputs that `generate_image` and `generate_image_stream` share."""
    pictures = {"image_bytes": image, "mask_bytes": mask}
    encoded = {name: None if picture is None else image_bytes(picture) for name, picture in pictures.items()}
    return {**wishes, **encoded}


def generate_image(delivery: Delivery, inputs: dict[str, Any]) -> Call[GeneratedImages]:
    """A prompt to pictures; `inputs` from `generation_inputs`."""
    return Call(request(_models.TEXT_TO_IMAGE, delivery, inputs), _images)


def generate_image_stream(
    delivery: Delivery, inputs: dict[str, Any], preview_interval: int | None
) -> Call[ImageProgress | GeneratedImages]:
    """The same, with a report after every step."""
    inputs = {**inputs, "preview_interval": preview_interval}
    return Call(request(_models.STABLE_DIFFUSION, delivery, inputs), _progress_or_images)


def _images(outputs: Outputs) -> GeneratedImages:
    columns = zip(outputs["image"][0], outputs["image_png"][0], outputs["seed"][0], strict=True)
    return GeneratedImages(
        # Copied: the wire's buffer is read-only.
        images=tuple(GeneratedImage(np.array(pixels, np.uint8), png, int(seed)) for pixels, png, seed in columns),
        prompt_tokens=int(outputs["prompt_tokens"][0, 0]),
        truncated_text=text_of(outputs, "truncated_text"),
    )


def _progress_or_images(outputs: Outputs) -> ImageProgress | GeneratedImages:
    if "step" not in outputs:
        return _images(outputs)
    previews = outputs["preview_png"][0] if "preview_png" in outputs else ()
    return ImageProgress(int(outputs["step"][0, 0]), int(outputs["num_steps"][0, 0]), tuple(previews))
