"""Sound files of any length to text, piece by piece in order, each as soon as it has been heard."""

from tritone import serving
from tritone.serving import bls, estimates


class Settings(serving.DoorSettings):
    checkpoint: str
    max_windows: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.speech.listening.listener import Listener

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        self.triton.open_door(settings, estimates.seconds_of_sound)
        self.listener = Listener.load(settings.checkpoint, bls.call, settings.max_windows)
        self.triton.tell(**self.listener.facts())

    def execute(self, requests):
        self.triton.stream(requests, self.listener.stream)
