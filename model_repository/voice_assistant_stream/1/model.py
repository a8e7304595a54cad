"""The voice assistant, streaming: the answer clause by clause, aloud. The turn itself is tritone/assistant.py."""

from tritone import bls, serving


class Settings(serving.Settings):
    max_in_flight: int
    ahead: int
    max_lead_s: float


class TritonPythonModel:
    def initialize(self, args):
        from tritone.assistant import Assistant, Limits

        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)
        limits = Limits(self.settings.ahead, self.settings.max_lead_s)
        self.assistant = Assistant(bls.call, bls.call_stream, limits)

    def execute(self, requests):
        self.triton.stream(requests, self.assistant.answer, self.settings.max_in_flight)
