"""Sound files of any length to text, piece by piece in order, each as soon as it has been heard."""

from tritone import bls, serving


class Settings(serving.Settings):
    checkpoint: str
    max_in_flight: int
    max_windows: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.listener import Listener

        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)
        self.listener = Listener.load(self.settings.checkpoint, bls.call, self.settings.max_windows)

    def execute(self, requests):
        self.triton.stream(requests, self.listener.stream, self.settings.max_in_flight)
