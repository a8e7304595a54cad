"""Text to speech clause by clause: the first is heard while the next is spoken. The voices are in `tts`."""

from contextlib import aclosing

import numpy as np

from tritone import serving
from tritone.errors import InvalidInput
from tritone.overlap import in_order
from tritone.serving import bls, estimates
from tritone.serving.threads import in_thread
from tritone.speech.reading import clauses, markdown

SPOKEN = ("audio", "sampling_rate", "audio_wav", "audio_bytes", "voice", "word", "word_start", "word_end")


class Settings(serving.DoorSettings):
    max_characters: int
    ahead: int  # clauses that are spoken before the caller has taken the one before


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.settings = self.triton.settings(Settings)
        self.triton.open_door(self.settings, estimates.characters)
        self.triton.tell()

    def execute(self, requests):
        self.triton.stream(requests, self._speak)

    async def _speak(self, text, voice="", language="", speed=1.0, response_format=""):
        if len(text) > self.settings.max_characters:
            raise InvalidInput(f"text has {len(text):,} characters, the limit is {self.settings.max_characters:,}")
        options = {"voice": voice, "language": language, "response_format": response_format}

        async def speak(numbered):
            index, clause = numbered
            inputs = {"text": clause, "speed": np.float32(speed), "index": np.int32(index), **options}
            return {"text": clause, "index": index, **await bls.call("tts", inputs, SPOKEN)}

        begin = 0.0
        parts, note = await in_thread(_parts, text, language)
        pieces = in_order(_each(enumerate(parts)), speak, self.settings.ahead)
        async with aclosing(pieces) as spoken:
            async for piece in spoken:
                times = {name: piece[name] + begin for name in ("word_start", "word_end")}
                yield {**piece, **times, "note": note if begin == 0.0 else ""}
                begin += len(piece["audio"]) / piece["sampling_rate"][0]


def _parts(text, language):
    """The clauses of a text without marks of Markdown, and what of it is not read."""
    plain = markdown.plain(text)
    parts = clauses.speakable(plain.text, language)
    # Nothing to say: the voice is given the text as it is, and says why.
    return (parts if any(map(str.isalnum, plain.text)) else [text], plain.note)


async def _each(items):
    for item in items:
        yield item
