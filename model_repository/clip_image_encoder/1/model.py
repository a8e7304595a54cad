"""CLIP's image half: pixels to unit vectors, all users' pictures in one batch. The model is tritone/vision/clip.py."""

from tritone import checkpoints, imports, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str


class TritonPythonModel:
    def initialize(self, args):
        with imports.for_serving():
            from tritone.vision.clip import ImageEncoder

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder = checkpoints.path(settings.checkpoint)
        self.encoder = ImageEncoder.load(folder, self.triton.device, settings.dtype)
        self.triton.probe(self.encoder.warm_up)
        self.triton.tell(checkpoint=folder.name, width=self.encoder.width)

    def execute(self, requests):
        return self.triton.run_batched(requests, self.encoder.prepare, self._encode)

    def _encode(self, pictures):
        return [{"image_embeds": embeds} for embeds in self.encoder.encode(pictures)]
