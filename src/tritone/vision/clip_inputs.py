"""What CLIP's networks take: tokens of texts, and pixels of pictures. Neither needs torch, so a process that makes
them loads none. The networks are in `tritone.vision.clip`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from PIL import Image

from tritone.errors import InvalidInput
from tritone.media.image import Pixels
from tritone.vision.resizing import bicubic

CONTEXT = 77  # tokens, where a checkpoint does not say
END = "<|endoftext|>"
# transformers' CLIPImageProcessor, for what a checkpoint does not say.
DEFAULTS: dict[str, Any] = {
    **{"do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True},
    **{"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "resample": 3},
    **{"rescale_factor": 1 / 255, "image_mean": [0.48145466, 0.4578275, 0.40821073]},
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
NUMPY, TORCHVISION = "numpy", "torchvision"
BICUBIC = 3  # Pillow's number

Tokens = NDArray[np.int32]
PixelValues = NDArray[np.float32]


@dataclass(frozen=True)
class TokenizedText:
    """A text as the text encoder takes it."""

    input_ids: Tokens  # (context,), padded behind the end-of-text token
    token_count: int  # with start-of-text and end-of-text, up to the context
    truncated: bool  # whether the end of the text was cut off


class Tokenizer:
    """Words to tokens, as the checkpoint's CLIPTokenizer makes them."""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, end: int, padding: int, context: int, max_characters: int
    ) -> None:
        """`end` and `padding` are tokens."""
        self.context = context
        self._tokenizer, self._end, self._padding = tokenizer, end, padding
        self._max_characters = max_characters

    @classmethod
    def load(cls, directory: Path, max_characters: int) -> Tokenizer:
        """Load a checkpoint's tokenizer from `tokenizer.json`, or from what older checkpoints have in its place.

        Raises: ValueError: its end-of-text or padding token is not in its vocabulary.
        """
        tokenizer = _read(directory)
        # Its own truncation does not say whether it cut.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        given = _json(directory / "tokenizer_config.json")
        end, padding = (_token(tokenizer, given.get(name) or END) for name in ("eos_token", "pad_token"))
        return cls(tokenizer, end, padding, int(given.get("model_max_length", CONTEXT)), max_characters)

    def tokenize(self, text: str) -> TokenizedText:
        """Tokens of one text, padded to the context, so that all texts have one shape and meet in one batch.

        What is over the context is cut off, and the end-of-text token put behind the rest.
        Raises InvalidInput if the text is blank or has too many characters.
        """
        if not text.strip():
            raise InvalidInput("text is empty: there is nothing to embed")
        if len(text) > self._max_characters:
            raise InvalidInput(f"text has {len(text)} characters, the limit is {self._max_characters}")
        ids: list[int] = self._tokenizer.encode(text).ids
        truncated = len(ids) > self.context
        if truncated:
            ids = [*ids[: self.context - 1], self._end]
        padding = [self._padding] * (self.context - len(ids))
        return TokenizedText(np.array([*ids, *padding], np.int32), len(ids), truncated)


class ImageProcessor:
    """Pixels to what the image encoder takes, bit for bit as the checkpoint's CLIPProcessor makes it."""

    def __init__(self, process: Callable[[Pixels], PixelValues]) -> None:
        self._process = process

    @classmethod
    def load(cls, directory: Path, backend: str = NUMPY) -> ImageProcessor:
        """Load a checkpoint's image processor.

        `backend` is "numpy", which needs no torch (a process of 50 MB, not 450), or "torchvision", which resizes a
        large picture in a fifth of the time; of one result. What few checkpoints ask for is always torchvision's.
        Raises: ValueError: another backend.
        """
        if backend not in (NUMPY, TORCHVISION):
            raise ValueError(f"backend is '{backend}', must be {NUMPY} or {TORCHVISION}")
        given = _json(directory / "processor_config.json").get("image_processor")
        given = given or _json(directory / "preprocessor_config.json")
        steps = Steps(DEFAULTS | {name: value for name, value in given.items() if value is not None})
        return cls(steps if given and backend == NUMPY and steps.are_usual() else _of_transformers(directory))

    def pixel_values(self, image: Pixels) -> PixelValues:
        """RGB uint8 (height, width, 3) → resized, cropped and normalised float32 (3, side, side)."""
        return self._process(image)


class Steps:
    """What CLIPImageProcessor does: resize, crop the middle, scale and normalise.

    Source: transformers, image_processing_backends.TorchvisionBackend.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        """`settings` as in a checkpoint's `preprocessor_config.json`, with DEFAULTS for what it leaves out."""
        self._settings = settings
        size, crop = settings["size"], settings["crop_size"]
        self._size = {"shortest_edge": size} if isinstance(size, int) else size
        self._crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        # The scale is part of both, as transformers has it: other roundings would be other bits.
        scale = np.float32(1.0 / settings["rescale_factor"])
        self._mean, self._std = (np.array(settings[name], np.float32) * scale for name in ("image_mean", "image_std"))

    def are_usual(self) -> bool:
        """Whether `__call__` does what transformers would; a few checkpoints resize by another filter, or pad."""
        chosen = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
        return (
            all(self._settings[name] for name in chosen)
            and not self._settings.get("do_pad")
            and self._settings["resample"] == BICUBIC
            and set(self._size) in ({"shortest_edge"}, {"height", "width"})
            and set(self._crop) == {"height", "width"}
        )

    def __call__(self, image: Pixels) -> PixelValues:
        """RGB uint8 (height, width, 3) → float32 (3, crop height, crop width)."""
        values = (self._resized(image).astype(np.float32) - self._mean) / self._std
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def _resized(self, image: Pixels) -> Pixels:
        """The middle of the resized picture, in black where that is too small; nothing else is computed."""
        wanted, target = (self._crop["height"], self._crop["width"]), self._target(*image.shape[:2])
        missing = [max(0, want - have) for want, have in zip(wanted, target, strict=True)]
        top, left = ((have + lack - want) // 2 for want, have, lack in zip(wanted, target, missing, strict=True))
        rows, columns = (want - lack for want, lack in zip(wanted, missing, strict=True))
        pixels = bicubic(image, *target, top, left, rows, columns)
        return np.pad(pixels, [*((lack // 2, lack - lack // 2) for lack in missing), (0, 0)])

    def _target(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that a picture is resized to."""
        if "height" in self._size:
            return self._size["height"], self._size["width"]
        short = self._size["shortest_edge"]
        long = int(short * max(height, width) / min(height, width))
        return (long, short) if width <= height else (short, long)


def _of_transformers(directory: Path) -> Callable[[Pixels], PixelValues]:
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor.from_pretrained(directory, local_files_only=True)

    def process(image: Pixels) -> PixelValues:
        # A Pillow image: an array of one or three pixels' height could be taken for one with channels first.
        values: PixelValues = processor(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
        return values

    return process


def _read(directory: Path) -> tokenizers.Tokenizer:
    file = directory / "tokenizer.json"
    if file.is_file():
        return tokenizers.Tokenizer.from_file(str(file))
    from transformers import CLIPTokenizer

    read: tokenizers.Tokenizer = CLIPTokenizer.from_pretrained(directory, local_files_only=True).backend_tokenizer
    return read


def _json(file: Path) -> dict[str, Any]:
    """What a file holds; nothing if it is not there."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _token(tokenizer: tokenizers.Tokenizer, given: str | dict[str, Any]) -> int:
    """A token's number by its text; older files describe each token by a whole object."""
    text = given if isinstance(given, str) else str(given["content"])
    number = tokenizer.token_to_id(text)
    if number is None:
        raise ValueError(f"the tokenizer's vocabulary has no {text!r}")
    return number
