"""Stable Diffusion's UNet: one denoising step of any number of images. See tritone/drawing/diffusion_networks.py."""

from tritone import checkpoints, imports, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    attention_slicing: bool
    cuda_graphs: bool


class TritonPythonModel:
    def initialize(self, args):
        from tritone.drawing.diffusion_networks import UNet

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder = checkpoints.path(settings.checkpoint)
        with imports.for_serving():
            self.unet = UNet(
                folder, self.triton.device, settings.dtype, settings.attention_slicing, settings.cuda_graphs
            )
        self.triton.log(self.unet.describe())
        self.triton.probe(self.unet.warm_up)

    def execute(self, requests):
        return self.triton.run_tensors(requests, self.unet)
