"""Sound files to mono 16 kHz samples. The decoding itself is tritone/media/sound_files.py."""

from tritone import serving
from tritone.media import audio, sound_files
from tritone.serving import estimates
from tritone.serving.urgency import Worker


class Settings(serving.DoorSettings):
    max_bytes: int
    max_seconds: float


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.settings = settings = self.triton.settings(Settings)
        self.triton.open_door(settings, estimates.seconds_of_sound)
        self.worker = Worker(self._decode_all)
        self.triton.watch(self.worker.fault)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._decode)

    def _decode_all(self, files):
        return [sound_files.decode(file, self.settings.max_bytes, self.settings.max_seconds) for file in files]

    async def _decode(self, audio_bytes):
        samples = await self.worker(audio_bytes)
        return {"audio": samples, "duration": len(samples) / audio.SAMPLING_RATE}
