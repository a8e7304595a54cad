"""Stable Diffusion's autoencoder, second half: latents to pictures. See tritone/drawing/diffusion_networks.py."""

from tritone import checkpoints, imports, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    slicing: bool
    tiling: bool
    safety_checker: bool


class TritonPythonModel:
    def initialize(self, args):
        from tritone.drawing.diffusion_networks import VaeDecoder

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder, device = checkpoints.path(settings.checkpoint), self.triton.device
        with imports.for_serving():
            self.decoder = VaeDecoder(
                folder, device, settings.dtype, settings.slicing, settings.tiling, settings.safety_checker
            )
        self.triton.probe(self.decoder.warm_up)

    def execute(self, requests):
        return self.triton.run_tensors(requests, self.decoder)
