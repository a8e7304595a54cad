"""Picture files to what CLIP's image half takes. The work itself is tritone/image.py and tritone/clip.py.

It decodes too: the pixels of a photograph would be a hundred times as much to carry from model to model as these.
"""

from tritone import checkpoints, serving
from tritone.image import ENOUGH_TO_LOOK_AT, decode


class Settings(serving.Settings):
    checkpoint: str
    max_bytes: int
    max_pixels: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.clip import ImageProcessor

        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)
        self.processor = ImageProcessor.load(checkpoints.path(self.settings.checkpoint))

    def execute(self, requests):
        return self.triton.run_each(requests, self._process)

    def _process(self, image_bytes):
        image = decode(image_bytes, self.settings.max_bytes, self.settings.max_pixels, ENOUGH_TO_LOOK_AT)
        return {"pixel_values": self.processor.pixel_values(image)}
