"""What the verbs take and give back: plain values, no tensors and no protocol."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from tritone_client import display


class FileLike(Protocol):
    """A file that is open for reading, or anything else that gives its bytes."""

    def read(self) -> bytes:
        """All that is left."""


# A path, the encoded bytes of a file, a file object, or samples: float −1..1 or int16, (n_samples,) or (n_samples,
# n_channels).
AudioLike = str | os.PathLike[str] | bytes | FileLike | npt.NDArray[Any]
# A path, the encoded bytes of a file, a file object, a Pillow image, or pixels: uint8 (height, width, 3), RGB.
ImageLike = str | os.PathLike[str] | bytes | FileLike | Image.Image | npt.NDArray[np.uint8]
# Earlier turns of a conversation in OpenAI's shape: {"role": "user", "content": "What is this?"}.
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Segment:
    """A stretch of speech; times in seconds from the start of the audio. The figures are those of openai/whisper."""

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    seek: int = 0  # where its window begins in the recording, in frames of 10 ms
    temperature: float = 0.0  # that it was sampled at
    avg_logprob: float = 0.0
    compression_ratio: float = 0.0
    no_speech_prob: float = 0.0


@dataclass(frozen=True)
class Word:
    """A word and when it is said; times in seconds from the start of the sound."""

    text: str  # as it was written, with the punctuation that touches it
    start: float
    end: float


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording."""

    text: str
    language: str  # code such as "en"
    duration: float  # of the recording, in seconds
    segments: tuple[Segment, ...]
    words: tuple[Word, ...] = ()  # with word_timestamps

    def _repr_html_(self) -> str:
        rows = ((part.start, part.end, part.text) for part in self.words or self.segments)
        return display.paragraph(self.text) + display.table(("start", "end", "text"), rows)


@dataclass(frozen=True)
class TranscriptChunk:
    """What was said in the next stretch of a long recording."""

    text: str
    language: str
    duration: float  # of the whole recording, in seconds
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    index: int  # 0, 1, 2, ...
    end: float  # up to here the recording has been heard, in seconds
    is_final: bool


@dataclass(frozen=True)
class AlignedWord(Word):
    """A word found in a recording."""

    score: float  # 0–1, how well the sound fits its letters


@dataclass(frozen=True)
class Alignment:
    """A text in time."""

    words: tuple[AlignedWord, ...]
    matches: bool  # False: the recording says something else, and the times mean little
    duration: float  # of the recording, in seconds

    def _repr_html_(self) -> str:
        rows = ((word.start, word.end, word.text, word.score) for word in self.words)
        return display.table(("start", "end", "word", "score"), rows)


@dataclass(frozen=True)
class Speech:
    """Something spoken."""

    audio: npt.NDArray[np.float32] = field(repr=False, compare=False)  # (n_samples,), mono, −1..1
    sampling_rate: int  # Hz
    wav: bytes = field(repr=False)  # the same as a WAV file
    words: tuple[Word, ...] = ()  # empty where the voice does not know when it says them
    voice: str = ""  # who speaks
    encoded: bytes | None = field(default=None, repr=False)  # the file in the format that was asked for
    note: str = ""  # what of the text is not read aloud, such as "not read aloud: a table"

    @classmethod
    def from_wav(cls, wav: bytes) -> "Speech":
        """Read a mono WAV file of 16-bit samples, which is what the server speaks.

        Raises: ValueError: any other kind of file.
        """
        try:
            with soundfile.SoundFile(io.BytesIO(wav)) as file:
                if (file.channels, file.subtype) != (1, "PCM_16"):
                    kind = f"{file.channels} channels of {file.subtype}"
                    raise ValueError(f"the WAV file has {kind}, must be 1 of PCM_16")
                return cls(file.read(dtype="float32"), file.samplerate, wav)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"not a WAV file: {error}") from error

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.audio) / self.sampling_rate

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file: of the format that was asked for, else WAV."""
        Path(path).write_bytes(self.wav if self.encoded is None else self.encoded)

    def _repr_html_(self) -> str:
        return (display.audio(self.wav) if self.wav else "") + (display.paragraph(self.note) if self.note else "")


@dataclass(frozen=True)
class Answer:
    """What the language model says."""

    text: str
    finish_reason: str  # "stop": it had said all; "length": max_tokens was reached
    prompt_tokens: int
    completion_tokens: int
    image_tokens: int = 0  # of the prompt's
    logprobs: tuple[Mapping[str, Any], ...] = ()  # with `logprobs`: OpenAI's `choices[].logprobs.content`


@dataclass(frozen=True)
class AnswerChunk:
    """The next piece of an answer that is still being made; the pieces' texts join to the whole."""

    text: str
    finish_reason: str | None  # None until the last piece
    prompt_tokens: int
    completion_tokens: int  # up to here
    image_tokens: int = 0
    logprobs: tuple[Mapping[str, Any], ...] = ()  # of this piece's tokens


@dataclass(frozen=True)
class Reply:
    """One turn with the voice assistant."""

    transcript: str  # the question, as it was heard or typed
    text: str  # the answer
    speech: Speech  # the answer, spoken
    question_duration: float  # of the spoken question, in seconds; 0 for a typed one
    finish_reason: str  # as in Answer
    speech_error: str = ""  # why `speech` is empty, where no voice can speak the answer; or what of it is not read

    def _repr_html_(self) -> str:
        return display.paragraph(self.transcript) + display.paragraph(self.text) + self.speech._repr_html_()


@dataclass(frozen=True)
class SpeechChunk:
    """The next clause of a text that is being spoken; played one after another they are the whole."""

    index: int  # 0, 1, 2, …
    text: str
    speech: Speech  # its words' times count from the start of the whole text


@dataclass(frozen=True)
class Latencies:
    """Where the time went, in milliseconds, as the server saw it."""

    hear: float  # from the request to the transcript
    think: float  # from the transcript to the text of this clause
    speak: float  # from the text of this clause to its sound
    elapsed: float  # from the request to this response


@dataclass(frozen=True)
class ReplyChunk:
    """The next piece of a turn with the voice assistant: first the transcript, then the answer clause by clause."""

    index: int  # 0, 1, 2, …
    transcript: str | None  # of the question, in the first chunk only
    text: str  # the pieces' texts join to the whole answer
    speech: Speech | None  # the clause, spoken; its words' times count from the start of the answer
    finish_reason: str | None  # None until the last piece
    speech_error: str  # why there is no sound, where no voice can speak the clause; or what of it is not read
    latencies: Latencies
    prompt_tokens: int = 0  # 0 also of servers that do not tell
    completion_tokens: int = 0  # up to here
    image_tokens: int = 0  # of the prompt's


@dataclass(frozen=True)
class GeneratedImage:
    """A picture that was made."""

    pixels: npt.NDArray[np.uint8] = field(repr=False, compare=False)  # (height, width, 3), RGB
    png: bytes = field(repr=False)  # the same as a PNG file
    seed: int  # gives the same picture again

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the PNG file."""
        Path(path).write_bytes(self.png)

    def _repr_png_(self) -> bytes:
        return self.png


@dataclass(frozen=True)
class GeneratedImages:
    """All pictures of one request."""

    images: tuple[GeneratedImage, ...]
    prompt_tokens: int  # of the prompt with its style words, start and end included
    truncated_text: str  # the end of the prompt that was too long to be read; empty if all was

    @property
    def image(self) -> GeneratedImage:
        """The first picture."""
        return self.images[0]

    def _repr_html_(self) -> str:
        return "".join(display.picture(image.png) for image in self.images)


@dataclass(frozen=True)
class ImageProgress:
    """A step was done."""

    step: int
    num_steps: int
    previews: tuple[bytes, ...] = field(default=(), repr=False)  # PNG files, where they were asked for

    def _repr_html_(self) -> str:
        said = display.paragraph(f"step {self.step} of {self.num_steps}")
        return said + "".join(map(display.picture, self.previews))


@dataclass(frozen=True)
class ServedModel:
    """A model that the server has ready."""

    name: str
    streams: bool  # whether it answers in parts
    inputs: tuple[str, ...]  # names of tensors
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """A candidate and how well it goes with the query: the cosine of the angle between the two, −1..1."""

    index: int  # among the candidates
    score: float
    candidate: Any  # as it was given; in an `ImageIndex` the picture's Path


class Matches(list[Match]):
    """Candidates, best first."""

    def _repr_html_(self) -> str:
        return display.table(("candidate", "score"), ((match.candidate, match.score) for match in self))
