"""Stable Diffusion's text encoder: prompts to embeddings. The network is in tritone/drawing/diffusion_networks.py."""

from tritone import checkpoints, imports, serving
from tritone.errors import InvalidInput


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    max_characters: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.drawing.diffusion_networks import TextEncoder

        self.triton = serving.Model(args)
        self.settings = settings = self.triton.settings(Settings)
        with imports.for_serving():
            self.encoder = TextEncoder(checkpoints.path(settings.checkpoint), self.triton.device, settings.dtype)
        self.triton.probe(self.encoder.warm_up)

    def execute(self, requests):
        return self.triton.run_batched(requests, self._prepare, self._encode)

    def _prepare(self, prompt):
        if len(prompt) > self.settings.max_characters:
            limit = self.settings.max_characters
            raise InvalidInput(f"prompt has {len(prompt):,} characters, the limit is {limit:,}")
        return prompt

    def _encode(self, prompts):
        return [{"prompt_embeds": states} for states in self.encoder.encode(prompts).numpy()]
