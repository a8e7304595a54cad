"""Sound files to text: decode, log-mel, Whisper. Text that comes instead of sound passes through.

The pass-through serves ensembles, which cannot branch: a question may be spoken or written.
"""

import asyncio

import numpy as np

from tritone import audio, checkpoints, serving
from tritone.errors import InvalidInput

HEARD = ("text", "language", "segment_start", "segment_end", "segment_text")


class Settings(serving.Settings):
    checkpoint: str
    max_in_flight: int


class TritonPythonModel:
    def initialize(self, args):
        from tritone.whisper import LogMel

        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)
        self.log_mel = LogMel.load(checkpoints.path(self.settings.checkpoint))

    def execute(self, requests):
        self.triton.answer_later(requests, self._transcribe, self.settings.max_in_flight)

    async def _transcribe(self, audio_bytes=None, text_input=None, language="", task=""):
        if (audio_bytes is None) == (text_input is None):
            given = "neither" if audio_bytes is None else "both"
            raise InvalidInput(f"send audio_bytes or text_input, one of them; {given} came")
        if audio_bytes is None:
            return _nothing_heard(0.0) | {"text": text_input, "language": language}
        sound = await serving.call("audio_decoder", {"audio_bytes": audio_bytes}, ["audio", "duration"])
        if audio.is_silent(sound["audio"]):  # Whisper invents words for it
            return _nothing_heard(sound["duration"])
        input_features = await asyncio.to_thread(self.log_mel, sound["audio"])
        # Both options always go along: Triton never batches requests that differ in which inputs they have.
        window = {"input_features": input_features, "language": language, "task": task}
        heard = await serving.call("whisper", window, HEARD)
        # Whisper counts in steps of its own and may end a segment in the padding behind the sound.
        ends = np.minimum(heard["segment_end"], sound["duration"])
        return {**heard, "segment_end": ends, "duration": sound["duration"]}


def _nothing_heard(duration):
    empty = {"segment_start": [], "segment_end": [], "segment_text": []}
    return {"text": "", "language": "", "duration": duration, **empty}
