"""Picture files (PNG, JPEG, HEIC and others) to RGB pixels. The decoding itself is tritone/image.py."""

from tritone import image, serving


class Settings(serving.Settings):
    max_bytes: int
    max_pixels: int


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)

    def execute(self, requests):
        return self.triton.run_each(requests, self._decode)

    def _decode(self, image_bytes):
        return {"image": image.decode(image_bytes, self.settings.max_bytes, self.settings.max_pixels)}
