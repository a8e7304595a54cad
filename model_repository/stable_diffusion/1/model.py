"""Stable Diffusion, streaming: a prompt in, progress and pictures out. The loop is tritone/drawing/stable_diffusion.py.

Any number of images are in flight as coroutines of this one process; their steps go to `sd_unet` together.
"""

from pathlib import Path

from tritone import checkpoints, imports, serving
from tritone.serving import bls, estimates


class Settings(serving.DoorSettings):
    checkpoint: str
    max_rows: int  # in one call of the UNet
    max_pictures: int  # in one call of the autoencoder
    max_values: int  # numbers of latents in one call of a network, but for a single row
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
        with imports.for_serving("scipy"):
            from tritone.drawing.image_generation import Defaults, ImageGenerator, served_networks
            from tritone.drawing.stable_diffusion import Checkpoint, Limits

        self.triton = serving.Model(args)
        s = self.triton.settings(Settings)
        folder = checkpoints.path(s.checkpoint)
        self.triton.open_door(s, estimates.picture_steps(folder, s.default_steps))

        async def decode_image(image_bytes):
            return (await bls.call("image_decoder", {"image_bytes": image_bytes}, ["image"]))["image"]

        self.generator = ImageGenerator(
            folder,
            served_networks(
                bls.call_rows, self.triton.device, Checkpoint.read(folder), s.max_rows, s.max_pictures, s.max_values
            ),
            decode_image,
            s.part(Limits),
            Defaults(s.default_steps, s.default_guidance_scale, s.default_scheduler),
            Path(s.styles) if s.styles else None,
        )
        self.triton.tell(checkpoint=folder.name, **self.generator.facts())

    def execute(self, requests):
        self.triton.stream(requests, self.generator.generate)
