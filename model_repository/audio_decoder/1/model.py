"""Sound files to mono 16 kHz samples. The decoding itself is tritone/sound_files.py."""

from tritone import audio, serving, sound_files


class Settings(serving.Settings):
    max_bytes: int
    max_seconds: float


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)

    def execute(self, requests):
        return self.triton.run_each(requests, self._decode)

    def _decode(self, audio_bytes):
        samples = sound_files.decode(audio_bytes, self.settings.max_bytes, self.settings.max_seconds)
        return {"audio": samples, "duration": len(samples) / audio.SAMPLING_RATE}
