"""`tts` for answers: text that no voice can speak gives silence and the reason, so that the text still arrives."""

import numpy as np

from tritone import serving
from tritone.media import audio
from tritone.serving import bls, estimates

SPOKEN = ("audio_wav", "word", "word_start", "word_end")


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.triton.open_door(self.triton.settings(serving.DoorSettings), estimates.characters)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.answer_later(requests, self._speak)

    async def _speak(self, text, voice="", language="", speed=1.0):
        options = {
            "voice": voice,
            "language": language,
            "speed": np.float32(speed),
            "response_format": "",
            "index": np.int32(0),
        }
        try:
            spoken = await bls.call("tts", {"text": text, **options}, (*SPOKEN, "note"))
            return {**{name: spoken[name] for name in SPOKEN}, "speech_error": spoken["note"]}
        except bls.CallFailed as error:
            if not error.refused:
                raise
            silence = audio.encode_wav(np.zeros(0, np.float32), audio.SAMPLING_RATE)
            return {"audio_wav": silence, "word": [], "word_start": [], "word_end": [], "speech_error": str(error)}
