"""Stable Diffusion, streaming: a prompt in, progress and then pictures out. The loop is tritone/stable_diffusion.py.

Any number of images are in flight as coroutines of this one process; their steps go to `sd_unet` together.
"""

from pathlib import Path

from tritone import bls, checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    max_in_flight: int
    max_rows: int
    default_steps: int
    default_guidance_scale: float
    default_scheduler: str
    max_steps: int
    max_side: int
    max_images: int
    max_characters: int
    max_guidance_scale: float
    styles: str


class TritonPythonModel:
    def initialize(self, args):
        from tritone.image_generation import Defaults, ImageGenerator, served_networks
        from tritone.stable_diffusion import Limits

        self.triton = serving.Model(args)
        self.settings = s = self.triton.settings(Settings)

        async def decode_image(image_bytes):
            return (await bls.call("image_decoder", {"image_bytes": image_bytes}, ["image"]))["image"]

        self.generator = ImageGenerator(
            checkpoints.path(s.checkpoint),
            served_networks(bls.call_rows, self.triton.device, s.max_rows),
            decode_image,
            self.settings.part(Limits),
            Defaults(s.default_steps, s.default_guidance_scale, s.default_scheduler),
            Path(s.styles) if s.styles else None,
        )

    def execute(self, requests):
        self.triton.stream(requests, self.generator.generate, self.settings.max_in_flight)
