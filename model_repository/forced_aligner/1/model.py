"""Forced alignment: audio and its text to word times. The aligner itself is tritone/speech/alignment.py."""

from tritone import checkpoints, imports, serving
from tritone.serving.threads import in_thread
from tritone.serving.urgency import Worker


class Settings(serving.DoorSettings):
    checkpoint: str
    dtype: str
    max_seconds: float
    at_a_time: int  # recordings in one pass of the network


class TritonPythonModel:
    def initialize(self, args):
        with imports.for_serving("torchaudio"):
            from tritone.speech.alignment import Aligner

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        folder = checkpoints.path(settings.checkpoint)
        self.aligner = Aligner.load(folder, self.triton.device, settings.dtype, settings.max_seconds)
        self.triton.open_door(settings, lambda audio, **_: float(audio.size))
        self.worker = Worker(self.aligner.align, settings.at_a_time)
        self.triton.watch(self.worker.fault)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._align)

    async def _align(self, **inputs):
        alignment = await self.worker(await in_thread(self.aligner.prepare, **inputs))
        return {
            "word": [word.word for word in alignment.words],
            "start": [word.start for word in alignment.words],
            "end": [word.end for word in alignment.words],
            "score": [word.score for word in alignment.words],
            "matches": alignment.matches,
        }
