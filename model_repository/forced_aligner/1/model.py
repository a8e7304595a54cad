"""Forced alignment: audio and its text to word times. The aligner itself is tritone/alignment.py."""

from tritone import checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    max_seconds: float


class TritonPythonModel:
    def initialize(self, args):
        from tritone.alignment import Aligner

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder = checkpoints.path(settings.checkpoint)
        self.aligner = Aligner.load(folder, self.triton.device, settings.dtype, settings.max_seconds)

    def execute(self, requests):
        return self.triton.run_batched(requests, self.aligner.prepare, self._align)

    def _align(self, readings):
        return [
            {
                "word": [word.word for word in alignment.words],
                "start": [word.start for word in alignment.words],
                "end": [word.end for word in alignment.words],
                "score": [word.score for word in alignment.words],
                "matches": alignment.matches,
            }
            for alignment in self.aligner.align(readings)
        ]
