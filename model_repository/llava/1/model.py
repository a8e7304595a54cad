"""LLaVA, streaming: a picture and a question in, the answer piece by piece. The model itself is tritone/llava.py."""

import asyncio
from contextlib import aclosing
from dataclasses import asdict

from tritone import checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    max_in_flight: int
    max_characters: int
    max_pictures: int
    max_image_bytes: int
    max_pixels: int
    max_tokens: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.llava import Limits, Llava

        self.triton = serving.Model(args)
        self.settings = settings = self.triton.settings(Settings)
        limits = Limits(**settings.model_dump(exclude={"checkpoint", "dtype", "max_in_flight"}))
        self.llava = Llava.load(checkpoints.path(settings.checkpoint), self.triton.device, settings.dtype, limits)

    def execute(self, requests):
        self.triton.stream(requests, self._answer, self.settings.max_in_flight)

    async def _answer(self, **inputs):
        chat = await asyncio.to_thread(self.llava.prepare, **inputs)
        async with aclosing(self.llava.stream(chat)) as pieces:
            async for piece in pieces:
                yield {"text_output": piece.text, **{k: v for k, v in asdict(piece).items() if k != "text"}}
