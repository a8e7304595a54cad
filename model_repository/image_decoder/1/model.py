"""Picture files (PNG, JPEG, HEIC and others) to RGB pixels. The decoding itself is tritone/media/image.py."""

from tritone import serving
from tritone.media import image
from tritone.serving.urgency import Worker


class Settings(serving.DoorSettings):
    max_bytes: int
    max_pixels: int


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.settings = settings = self.triton.settings(Settings)
        self.triton.open_door(settings)
        self.worker = Worker(self._decode_all)
        self.triton.watch(self.worker.fault)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._decode)

    def _decode_all(self, files):
        return [image.decode(file, self.settings.max_bytes, self.settings.max_pixels) for file in files]

    async def _decode(self, image_bytes):
        return {"image": await self.worker(image_bytes)}
