"""Text to CLIP's tokens. The tokenizer itself is tritone/vision/clip_inputs.py."""

from dataclasses import asdict

from tritone import checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    max_characters: int
    max_wait_s: float


class TritonPythonModel:
    def initialize(self, args):
        from tritone.vision.clip_inputs import Tokenizer

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        self.triton.open_passage("clip_text_encoder", settings.max_wait_s)
        self.tokenizer = Tokenizer.load(checkpoints.path(settings.checkpoint), settings.max_characters)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.run_each(requests, lambda text: asdict(self.tokenizer.tokenize(text)))
