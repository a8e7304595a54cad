"""Text to speech. The voices themselves are tritone/tts.py."""

from tritone import audio, checkpoints, serving


class Settings(serving.Settings):
    checkpoint: str
    espeak_languages: str = ""
    max_characters: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.tts import Speaker

        self.triton = serving.Model(args)
        settings = self.triton.settings(Settings)
        languages = settings.espeak_languages.split(",") if settings.espeak_languages else []
        voices = [checkpoints.path(settings.checkpoint)]
        self.speaker = Speaker.load(voices, self.triton.device, settings.max_characters, languages)

    def execute(self, requests):
        return self.triton.run_batched(requests, self._prepare, self._speak)

    def _prepare(self, response_format="", **inputs):
        return audio.file_format(response_format or "wav"), self.speaker.prepare(**inputs)

    def _speak(self, wishes):
        speeches = self.speaker.speak([script for _, script in wishes])
        return [_answer(speech, wish[0]) for speech, wish in zip(speeches, wishes, strict=True)]


def _answer(speech, response_format):
    return {
        "audio": speech.audio,
        "sampling_rate": speech.sampling_rate,
        "audio_wav": lambda: audio.encode_wav(speech.audio, speech.sampling_rate),
        "audio_bytes": lambda: audio.encode(speech.audio, speech.sampling_rate, response_format),
        "voice": speech.voice,
        "word": [word.text for word in speech.words],
        "word_start": [word.start for word in speech.words],
        "word_end": [word.end for word in speech.words],
    }
