"""The verbs that make pictures, as requests and the way to read their answers. See `call`."""

from typing import Any

import numpy as np

from tritone_client.calls import models
from tritone_client.calls.call import Call, Outputs, request, text_of
from tritone_client.calls.options import Drawing, inputs_of
from tritone_client.media import image_bytes, pixels_of
from tritone_client.types import GeneratedImage, GeneratedImages, ImageProgress


def generate_image(prompt: str, options: Drawing) -> Call[GeneratedImages]:
    """A prompt to pictures."""
    return Call(request(models.TEXT_TO_IMAGE, options, _inputs(prompt, options)), _images)


def generate_image_stream(
    prompt: str, preview_interval: int | None, options: Drawing
) -> Call[ImageProgress | GeneratedImages]:
    """The same, with a report after every step."""
    inputs = {**_inputs(prompt, options), "preview_interval": preview_interval}
    sent = request(models.STABLE_DIFFUSION, options, inputs)
    return Call(sent, _progress_or_images, lambda part: isinstance(part, GeneratedImages))


def _inputs(prompt: str, options: Drawing) -> dict[str, Any]:
    pictures = {"image_bytes": options.get("image"), "mask_bytes": options.get("mask")}
    encoded = {name: None if picture is None else image_bytes(picture) for name, picture in pictures.items()}
    return {"prompt": prompt, **inputs_of(options, "image", "mask"), **encoded}


def _images(outputs: Outputs) -> GeneratedImages:
    files = outputs["image_png"][0]
    decoded = outputs["image"][0] if "image" in outputs else [pixels_of(png) for png in files]  # JSON has no pixels
    columns = zip(decoded, files, outputs["seed"][0], strict=True)
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
