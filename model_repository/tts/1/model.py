"""Text to speech. The voice itself is tritone/tts.py."""

from tritone import audio, checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    max_characters: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.tts import Speaker

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        self.speaker = Speaker.load(checkpoints.path(settings.checkpoint), self.triton.device, settings.max_characters)

    def execute(self, requests):
        return self.triton.run_batched(requests, self.speaker.prepare, self._speak)

    def _speak(self, scripts):
        return [
            {
                "audio": speech.audio,
                "sampling_rate": speech.sampling_rate,
                "audio_wav": lambda speech=speech: audio.encode_wav(speech.audio, speech.sampling_rate),
            }
            for speech in self.speaker.speak(scripts)
        ]
