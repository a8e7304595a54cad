"""Whisper: log-mel windows to text, all users' windows in a batch. The model is tritone/speech/listening/whisper.py."""

from tritone import checkpoints, imports, serving


class Settings(serving.Settings):
    checkpoint: str
    dtype: str
    shortest_context: float
    cuda_graphs: bool


class TritonPythonModel:
    def initialize(self, args):
        with imports.for_serving():
            from tritone.speech.listening.whisper import Whisper

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        self.whisper = Whisper.load(
            checkpoints.path(settings.checkpoint),
            self.triton.device,
            settings.dtype,
            settings.shortest_context,
            settings.cuda_graphs,
        )
        self.triton.log(self.whisper.describe())
        self.triton.probe(self.whisper.warm_up)

    def execute(self, requests):
        self.triton.answer_as_done(requests, self.whisper.prepare, self._transcribe)

    def _transcribe(self, windows):
        for row, transcript in self.whisper.stream(windows):
            yield row, transcript.outputs()
