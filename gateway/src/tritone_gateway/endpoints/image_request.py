"""What the addresses that make pictures may be asked for."""

import re
from typing import Any, ClassVar, Literal

from pydantic import Field

from tritone_gateway.errors import invalid, unsupported
from tritone_gateway.requests import HARMLESS, ApiRequest
from tritone_gateway.settings import Settings

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
ONE_FRAME = "one picture that does not move"


class ImageRequest(ApiRequest):
    """The body of /v1/images/generations, and what the form of /v1/images/edits shares with it."""

    harmless: ClassVar[frozenset[str]] = HARMLESS | {"moderation"}
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {
        "background": ("auto", "opaque"),
        "frame_count": (1, "1"),
        "input_fidelity": ("low",),
    }
    why: ClassVar[dict[str, str]] = {
        "background": "pictures have no transparent parts here",
        "input_fidelity": "say by strength (0..1) how much of the picture may change",
        **dict.fromkeys(("frame_count", "frame_duration_ms", "svg", "complexity", "markup"), ONE_FRAME),
    }

    prompt: str = Field(min_length=1)
    model: str = "stable_diffusion"
    n: int = Field(1, ge=1, le=10)
    size: str = "auto"
    quality: str = "auto"
    output_format: Literal["png", "webp", "jpeg"] = "png"
    output_compression: int = Field(100, ge=0, le=100)
    response_format: Literal["b64_json", "url"] = "b64_json"
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    # Extensions: Stable Diffusion's own words.
    seed: int | None = Field(None, ge=0, lt=2**63)
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    style: str | None = None

    def check(self) -> None:
        """What no field can say alone.

        Raises: ApiError: 400, by the field's name.
        """
        if self.response_format == "url":
            raise unsupported("response_format", "this server keeps no pictures to link to; b64_json has them")
        if self.partial_images and not self.stream:
            raise invalid("partial_images is given, but stream is not true", "partial_images")
        if self.partial_images and self.n > 1:
            raise unsupported("partial_images", f"not together with n = {self.n}: nobody could tell whose they are")

    def wishes(self, settings: Settings) -> dict[str, Any]:
        """The client's options for the pictures."""
        width, height = self._sides()
        return {
            "height": height,
            "width": width,
            "num_inference_steps": self._steps(settings),
            "num_images": self.n,
            "seed": self.seed,
            "negative_prompt": self.negative_prompt,
            "guidance_scale": self.guidance_scale,
            "scheduler": self.scheduler,
            "style": self.style,
        }

    def preview_interval(self, settings: Settings) -> int | None:
        """Steps between previews, so that they are spread over the drawing."""
        if not self.partial_images:
            return None
        return max(1, (self._steps(settings) or settings.default_image_steps) // (self.partial_images + 1))

    def _steps(self, settings: Settings) -> int | None:
        steps = settings.image_steps.get(self.quality)
        if steps is None and self.quality != "auto":
            known = ", ".join(("auto", *settings.image_steps))
            raise invalid(f"quality is '{self.quality[:40]}', must be one of {known}", "quality")
        return steps if self.num_inference_steps is None else self.num_inference_steps

    def _sides(self) -> tuple[int | None, int | None]:
        if self.size == "auto":
            return None, None
        if not (sides := _SIZE.fullmatch(self.size)) or "0" in sides.groups():
            raise invalid(f"size is '{self.size[:40]}', must be auto or such as 512x512", "size")
        return int(sides[1]), int(sides[2])


class EditRequest(ImageRequest):
    """The form of /v1/images/edits."""

    image: list[Any]
    mask: Any = None
    strength: float | None = Field(None, ge=0, le=1)  # an extension: how much may change
