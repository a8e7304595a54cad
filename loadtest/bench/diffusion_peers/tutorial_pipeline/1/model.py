"""The design of Triton's published Stable Diffusion tutorial: one model holds the loop and serves a request at a time.

The tutorial calls the text encoder and the autoencoder as models of their own, which costs it a little more than this.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Triton's interface."""

    def initialize(self, args):
        """Load the pipeline."""
        import torch
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

        parameters = {k: v["string_value"] for k, v in json.loads(args["model_config"])["parameters"].items()}
        self.steps, self.guidance_scale = int(os.environ["BENCH_STEPS"]), float(parameters["guidance_scale"])
        folder = Path(os.environ["TRITONE_CHECKPOINTS"]) / parameters["checkpoint"]
        self.pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
        self.pipeline.scheduler = DPMSolverMultistepScheduler.from_config(self.pipeline.scheduler.config)
        self.pipeline.set_progress_bar_config(disable=True)

    def execute(self, requests):
        """One picture after the other."""
        import torch

        responses = []
        for request in requests:
            prompt = pb_utils.get_input_tensor_by_name(request, "prompt").as_numpy()[0, 0].decode()
            seed = int(pb_utils.get_input_tensor_by_name(request, "seed").as_numpy()[0, 0])
            generator, file = torch.Generator("cpu").manual_seed(seed), io.BytesIO()
            result = self.pipeline(
                prompt, num_inference_steps=self.steps, guidance_scale=self.guidance_scale, generator=generator
            )
            result.images[0].save(file, "PNG")
            png = np.array([[file.getvalue()]], np.object_)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("image_png", png)]))
        return responses
