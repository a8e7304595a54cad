"""Stable Diffusion, streaming: a prompt in, progress and then pictures out. The loop is tritone/stable_diffusion.py.

Any number of images are in flight as coroutines of this one process; their steps go to `sd_unet` together.
"""

from pathlib import Path

from tritone import bls, checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    max_in_flight: int
    max_rows: int
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
        from tritone.image_generation import Defaults, ImageGenerator
        from tritone.stable_diffusion import Decoded, Limits, Networks, Posterior
        from tritone.step_joining import JoinedSteps

        self.triton = serving.Model(args)
        self.settings = s = self.triton.settings(Settings)
        device = self.triton.device

        async def encode_prompt(prompts):
            out = await bls.call_rows("sd_text_encoder", {"prompt": prompts}, ["prompt_embeds"], device)
            return out["prompt_embeds"]

        async def predict_noise(latents, timestep, states):
            inputs = {"latents": latents, "timestep": timestep[:, None], "encoder_hidden_states": states}
            return (await bls.call_rows("sd_unet", inputs, ["noise_pred"], device))["noise_pred"]

        async def decode_latents(latents):
            outputs = ["image", "nsfw_content_detected"]
            out = await bls.call_rows("sd_vae_decoder", {"latents": latents}, outputs)
            return Decoded(out["image"].numpy(), out["nsfw_content_detected"].numpy()[:, 0])

        async def encode_image(pixel_values):
            outputs = ["latents_mean", "latents_std"]
            out = await bls.call_rows("sd_vae_encoder", {"pixel_values": pixel_values}, outputs, device)
            return Posterior(*(out[name] for name in outputs))

        async def decode_image(image_bytes):
            return (await bls.call("image_decoder", {"image_bytes": image_bytes}, ["image"]))["image"]

        joined = JoinedSteps(predict_noise, s.max_rows)
        networks = Networks(encode_prompt, joined, decode_latents, encode_image, device)
        self.generator = ImageGenerator(
            checkpoints.path(s.checkpoint),
            networks,
            decode_image,
            Limits(s.max_steps, s.max_side, s.max_images, s.max_characters, s.max_guidance_scale),
            Defaults(s.default_steps, s.default_guidance_scale, s.default_scheduler),
            Path(s.styles) if s.styles else None,
        )

    def execute(self, requests):
        self.triton.stream(requests, self.generator.generate, self.settings.max_in_flight)
