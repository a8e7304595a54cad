"""The unary face of `stable_diffusion`: its pictures in one response, for plain infer calls and ensembles."""

from contextlib import aclosing

from tritone import bls, serving
from tritone.image import encode_png

# PNG files are made here, and only if they are asked for.
OUTPUTS = ("image", "seed", "prompt_tokens", "truncated_text")


class Settings(serving.Settings):
    max_in_flight: int


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)

    def execute(self, requests):
        self.triton.answer_later(requests, self._draw, self.settings.max_in_flight)

    async def _draw(self, **inputs):
        async with aclosing(bls.call_stream("stable_diffusion", inputs, OUTPUTS)) as responses:
            drawn = [response async for response in responses][-1]
        return {**drawn, "image_png": lambda: [encode_png(image) for image in drawn["image"]]}
