"""Picture files to what CLIP's image half takes: tritone/media/image.py, then tritone/vision/clip_inputs.py.

It decodes too: the pixels of a photograph would be a hundred times as much to carry from model to model as these.
"""

from tritone import checkpoints, serving
from tritone.media.image import ENOUGH_TO_LOOK_AT, decode
from tritone.serving.urgency import Worker


class Settings(serving.DoorSettings):
    checkpoint: str
    backend: str
    max_bytes: int
    max_pixels: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.vision.clip_inputs import ImageProcessor

        self.triton = serving.Model(args)
        self.settings = settings = self.triton.settings(Settings)
        self.triton.open_door(settings)
        self.triton.open_passage("clip_image_encoder", settings.max_wait_s)
        self.processor = ImageProcessor.load(checkpoints.path(settings.checkpoint), settings.backend)
        self.worker = Worker(self._process_all)
        self.triton.watch(self.worker.fault)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._process)

    def _process_all(self, files):
        limits = self.settings.max_bytes, self.settings.max_pixels
        pictures = [decode(file, *limits, ENOUGH_TO_LOOK_AT) for file in files]
        return [self.processor.pixel_values(picture) for picture in pictures]

    async def _process(self, image_bytes):
        return {"pixel_values": await self.worker(image_bytes)}
