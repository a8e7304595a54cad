"""The unary face of `stable_diffusion`: its pictures in one response, for plain infer calls and ensembles."""

from contextlib import aclosing

from tritone import checkpoints, serving
from tritone.media.image import encode_png
from tritone.serving import bls, estimates

# PNG files are made here, and only if they are asked for.
OUTPUTS = ("image", "seed", "prompt_tokens", "truncated_text")


class Settings(serving.DoorSettings):
    checkpoint: str
    default_steps: int


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder = checkpoints.path(settings.checkpoint)
        self.triton.open_door(settings, estimates.picture_steps(folder, settings.default_steps))
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._draw)

    async def _draw(self, **inputs):
        async with aclosing(bls.call_stream("stable_diffusion", inputs, OUTPUTS)) as responses:
            drawn = [response async for response in responses][-1]
        return {**drawn, "image_png": lambda: [encode_png(image) for image in drawn["image"]]}
