"""The voice assistant, streaming: the answer clause by clause, aloud. The turn itself is tritone/assistant.py."""

from tritone import pulse, serving
from tritone.serving import bls, estimates


class Settings(serving.DoorSettings):
    ahead: int
    max_lead_s: float
    max_characters: int
    max_sounds: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.assistant import Assistant, Limits

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        self.triton.open_door(settings, estimates.seconds_of_sound)
        self.assistant = Assistant(bls.call, bls.call_stream, settings.part(Limits), self._voices)
        self.triton.tell()

    def _voices(self):
        return pulse.facts(self.triton.heart.where).get("tts")

    def execute(self, requests):
        self.triton.stream(requests, self.assistant.answer)
