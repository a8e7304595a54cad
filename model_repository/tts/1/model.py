"""Text to speech, the most urgent clause first. The voices themselves are tritone/speech/speaking/tts.py."""

from tritone import checkpoints, serving
from tritone.media import audio
from tritone.serving import bls, estimates
from tritone.serving.threads import in_thread


class Settings(serving.DoorSettings):
    checkpoint: str
    espeak_languages: str = ""
    max_characters: int
    clause_s: float  # how much longer the next clause of an answer may take than the one before: it is played meanwhile
    at_a_time: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.serving.urgency import Worker
        from tritone.speech.speaking.tts import Speaker

        self.triton = serving.Model(args)
        self.settings = settings = self.triton.settings(Settings)
        languages = settings.espeak_languages.split(",") if settings.espeak_languages else []
        voices = [checkpoints.path(settings.checkpoint)]
        self.speaker = Speaker.load(voices, self.triton.device, settings.max_characters, languages)
        self.worker = Worker(self.speaker.speak, settings.at_a_time)
        self.triton.watch(self.worker.fault)
        self.triton.open_door(settings, estimates.characters)
        self.triton.probe(lambda: self._speak("One."))
        self.triton.tell(checkpoint=voices[0].name, response_formats=list(audio.FILE_FORMATS), **self.speaker.facts())

    def execute(self, requests):
        return self.triton.answer_later(requests, self._speak)

    async def _speak(self, text, response_format="", index=0, **inputs):
        from tritone.speech.speaking.tts import find_words

        name = audio.file_format(response_format or "wav")
        script = await in_thread(self.speaker.prepare, text, **inputs)
        speech = await self.worker(script, max(int(index), 0) * self.settings.clause_s)
        return _answer(speech if speech.words else await find_words(speech, script.text, bls.call), name)


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
        "note": speech.note,
    }
