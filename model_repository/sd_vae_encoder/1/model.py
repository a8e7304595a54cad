"""Stable Diffusion's autoencoder, first half: pictures to latents. See tritone/drawing/diffusion_networks.py."""

from tritone import checkpoints, imports, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    slicing: bool
    tiling: bool


class TritonPythonModel:
    def initialize(self, args):
        from tritone.drawing.diffusion_networks import VaeEncoder

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder, device = checkpoints.path(settings.checkpoint), self.triton.device
        with imports.for_serving():
            self.encoder = VaeEncoder(folder, device, settings.dtype, settings.slicing, settings.tiling)
        self.triton.probe(self.encoder.warm_up)

    def execute(self, requests):
        return self.triton.run_tensors(requests, self.encoder)
