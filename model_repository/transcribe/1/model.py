"""Sound files of any length to text: decode, cut, log-mel, Whisper, join. Text that comes instead passes through.

The pass-through serves ensembles, which cannot branch: a question may be spoken or written. The work is that of
tritone/speech/listening/recording.py and tritone/speech/listening/listener.py.
"""

from tritone import serving
from tritone.errors import InvalidInput
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
        return self.triton.answer_later(requests, self._transcribe)

    async def _transcribe(self, audio_bytes=None, text_input=None, **options):
        if (audio_bytes is None) == (text_input is None):
            given = "neither" if audio_bytes is None else "both"
            raise InvalidInput(f"send audio_bytes or text_input, one of them; {given} came")
        if audio_bytes is None:
            return self.listener.written(text_input, options.get("language", ""))
        return await self.listener.transcribe(audio_bytes, **options)
