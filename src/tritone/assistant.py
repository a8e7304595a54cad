"""A turn of the voice assistant: a question is heard, thought about and answered aloud, clause by clause.

The stages overlap: while one clause is spoken, the language model is at the next. The models are reached through two
functions (`tritone.serving.bls.call` and `call_stream`), so this module knows nothing of Triton.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tritone.errors import InvalidInput, TritoneError
from tritone.language import conversation
from tritone.media import audio
from tritone.overlap import in_order
from tritone.speech.reading import clauses, markdown
from tritone.speech.speaking import voice as voices

Row = dict[str, Any]
Call = Callable[[str, Row, Sequence[str]], Awaitable[Row]]
CallStream = Callable[[str, Row, Sequence[str]], AsyncIterator[Row]]

HEARD = ("text", "duration")
COUNTS = ("prompt_tokens", "image_tokens", "completion_tokens")  # of the language model
THOUGHT = ("text_output", "finish_reason", *COUNTS)
SPOKEN = ("audio", "sampling_rate", "voice", "word", "word_start", "word_end")
MODALITIES = ("text", "audio")


@dataclass(frozen=True)
class Limits:
    """How far the assistant may run ahead of its listener."""

    ahead: int  # clauses thought but not yet sent
    max_lead_s: float  # seconds of sound sent but not yet played
    max_characters: int = 16_000  # of all turns together
    max_sounds: int = 16  # in `messages`


@dataclass(frozen=True)
class Voice:
    """How the answer is spoken."""

    voice: str
    speed: float
    aloud: bool


@dataclass(frozen=True)
class Question:
    """What was asked, in words."""

    transcript: str
    duration: float  # seconds of it that were said aloud
    inputs: Row  # of `llava`


@dataclass(frozen=True)
class Piece:
    """A clause of the answer on its way."""

    text: str
    finish_reason: str
    number: int  # of the clauses of the answer: 0, 1, …
    think_ms: float  # from the transcript to the text of this clause
    counts: tuple[int, int, int] = (0, 0, 0)  # COUNTS, as far as the answer is known here
    speak_ms: float = 0.0
    sound: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))  # (n_samples,)
    sampling_rate: int = audio.SAMPLING_RATE
    words: tuple[tuple[str, float, float], ...] = ()  # text, start and end in this piece's sound
    speech_error: str = ""
    said: str | None = None  # the text without marks of Markdown, as the voice gets it; None: as it is


class Assistant:
    """Answers turns with the models that it is given."""

    def __init__(
        self, call: Call, call_stream: CallStream, limits: Limits, offered: Callable[[], Row | None] = lambda: None
    ) -> None:
        """`offered()` is what `tts` says of itself (`Speaker.facts`); None while it says nothing."""
        self._call, self._call_stream, self._limits, self._offered = call, call_stream, limits, offered

    async def answer(
        self,
        audio_bytes: bytes | None = None,
        text_input: str | None = None,
        language: str = "",
        voice: str = "",
        speed: float = 1.0,
        modalities: Sequence[str] = MODALITIES,
        **question: Any,
    ) -> AsyncGenerator[Row, None]:
        """The responses of one turn: first the transcript, then the answer clause by clause, the last one with its
        reason to end.

        Args:
            audio_bytes or text_input: the question; a text passes as its own transcript. Without both it is the last
                turn of `messages`.
            modalities: "text", or "text" and "audio" for an answer aloud.
            question: `image_bytes`, `messages` and what else `llava` takes; what messages say aloud is heard.
        """
        manner = Voice(voice, float(speed), "audio" in _checked(modalities))
        await self._check(manner)
        started = time.monotonic()
        asked = await self._listen(audio_bytes, text_input, language, question)
        transcript, hear_ms = asked.transcript, _ms_since(started)
        common = {"duration": asked.duration, "hear_ms": hear_ms}
        nothing = Piece("", "" if transcript.strip() else "stop", 0, 0.0)
        yield _row(0, nothing, 0.0, transcript=transcript, elapsed_ms=hear_ms, **common)
        if not transcript.strip():
            return  # silence: there is no question
        index, begin, first_sound = 1, 0.0, 0.0
        async with aclosing(self._pieces(asked.inputs, manner)) as pieces:
            async for piece in pieces:
                yield _row(index, piece, begin, transcript="", elapsed_ms=_ms_since(started), **common)
                begin += len(piece.sound) / piece.sampling_rate
                first_sound = first_sound or time.monotonic()
                index += 1
                await self._wait_for_listener(first_sound + begin)

    async def _check(self, manner: Voice) -> None:
        """Refuse before anything is heard or thought what no voice could do for any text; raises InvalidInput."""
        if not manner.aloud:
            return
        voices.check_speed(manner.speed)
        if manner.voice and (told := await asyncio.to_thread(self._offered)) is not None:
            voices.check_known(manner.voice, [voices.Voice.model_validate(each) for each in told["voices"]])

    async def _listen(self, audio_bytes: bytes | None, text_input: str | None, language: str, inputs: Row) -> Question:
        """The question, whether it was said, written, or stands at the end of `messages`."""
        messages = inputs.get("messages") or ""
        is_last_turn = audio_bytes is None and text_input is None and bool(messages)
        last, duration = "", 0.0
        if is_last_turn or '"input_audio"' in messages:
            turns = await asyncio.to_thread(conversation.read, messages, self._limits.max_characters)
            if is_last_turn:
                conversation.check_ends_with_question(turns)
            turns, duration = await self._hear_all(turns, language)
            inputs = {**inputs, "messages": await asyncio.to_thread(conversation.written, turns)}
            last = " ".join(turns[-1].texts) if turns else ""
        if is_last_turn:
            return Question(last, duration, inputs)
        transcript, duration = await self._hear(audio_bytes, text_input, language)
        return Question(transcript, duration, {**inputs, "text_input": transcript})

    async def _hear_all(
        self, turns: Sequence[conversation.Message], language: str
    ) -> tuple[list[conversation.Message], float]:
        """The turns with words for everything said, and how many seconds the last one speaks."""
        sounds = conversation.sounds(turns)
        if len(sounds) > self._limits.max_sounds:
            raise InvalidInput(f"messages hold {len(sounds)} sounds, the limit is {self._limits.max_sounds}")

        async def hear(sound: conversation.File) -> tuple[str, float]:
            try:
                return await self._hear(sound.data, None, language)
            except TritoneError as error:
                raise error.renamed("audio_bytes", sound.name) from error

        async with aclosing(in_order(_each(sounds), hear, self._limits.ahead)) as all_:
            heard = [each async for each in all_]
        last = len(heard) - len(conversation.sounds(turns[-1:]))
        words = conversation.heard(turns, iter([text for text, _ in heard]))
        return words, sum(seconds for _, seconds in heard[last:])

    async def _hear(self, audio_bytes: bytes | None, text_input: str | None, language: str) -> tuple[str, float]:
        """What is said, and its seconds."""
        spoken = {"audio_bytes": audio_bytes, "text_input": text_input, "language": language, "task": ""}
        heard = await self._call("transcribe", spoken, HEARD)
        return str(heard["text"][0], "utf-8"), float(heard["duration"][0])

    async def _pieces(self, inputs: Row, manner: Voice) -> AsyncGenerator[Piece, None]:
        """The clauses of the answer, in order, spoken."""
        inputs = {**inputs, "stream_unit": "clause"}
        async with aclosing(
            in_order(self._think(inputs), lambda p: self._speak(p, manner), self._limits.ahead)
        ) as all_:
            async for piece in all_:
                yield piece

    async def _think(self, inputs: Row) -> AsyncGenerator[Piece, None]:
        started, number, stream = time.monotonic(), 0, markdown.Stream()
        async with aclosing(self._call_stream("llava", inputs, THOUGHT)) as rows:  # type: ignore[type-var]
            async for row in rows:
                text, reason = (str(row[name][0], "utf-8") for name in ("text_output", "finish_reason"))
                # A model that is faster than its listener may give several clauses in one piece.
                *parts, last = clauses.pieces(text)
                for part, ending in (*((part, "") for part in parts), (last, reason)):
                    plain = stream.feed(part)  # here, where the pieces are in order: code goes on from one to the next
                    piece = Piece(part, ending, number, _ms_since(started), _counts(row))
                    yield replace(piece, said=plain.text, speech_error=plain.note)
                    number += 1

    async def _speak(self, piece: Piece, manner: Voice) -> Piece:
        """The piece with its sound; without, and with the reason, where no voice can speak it."""
        said = piece.text if piece.said is None else piece.said
        if not manner.aloud:
            return replace(piece, speech_error="")
        if not any(map(str.isalnum, said)):
            return piece
        started = time.monotonic()
        options = {"voice": manner.voice, "speed": np.float32(manner.speed), "index": np.int32(piece.number)}
        try:
            row = await self._call("tts", {"text": said.strip(), **options}, SPOKEN)
        except TritoneError as error:
            if not getattr(error, "refused", False):
                raise
            return replace(piece, speech_error=str(error), speak_ms=_ms_since(started))
        times = zip(row["word"], row["word_start"].tolist(), row["word_end"].tolist(), strict=True)
        return replace(
            piece,
            sound=np.array(row["audio"]),
            sampling_rate=int(row["sampling_rate"][0]),
            words=tuple((str(word, "utf-8"), start, end) for word, start, end in times),
            speak_ms=_ms_since(started),
        )

    async def _wait_for_listener(self, sound_ends: float) -> None:
        """Wait while more sound is sent than the listener can have heard: he may interrupt, and others need the voice.

        `sound_ends` is when a player that never waits will have played everything.
        """
        lead = sound_ends - time.monotonic() - self._limits.max_lead_s
        if lead > 0:
            await asyncio.sleep(lead)


async def _each(items: Sequence[conversation.File]) -> AsyncGenerator[conversation.File, None]:
    for item in items:
        yield item


def _counts(row: Row) -> tuple[int, int, int]:
    read, shown, written = (int(row[name][0]) for name in COUNTS)
    return read, shown, written


def _row(index: int, piece: Piece, begin: float, **common: Any) -> Row:
    """The response of a piece whose sound begins `begin` seconds after that of the answer."""
    return {
        "index": index,
        "text_output": piece.text,
        "finish_reason": piece.finish_reason,
        **dict(zip(COUNTS, piece.counts, strict=True)),
        "audio": piece.sound,
        "sampling_rate": piece.sampling_rate,
        "audio_wav": lambda: audio.encode_wav(piece.sound, piece.sampling_rate),
        "word": [word for word, _, _ in piece.words],
        "word_start": [begin + start for _, start, _ in piece.words],
        "word_end": [begin + end for _, _, end in piece.words],
        "speech_error": piece.speech_error,
        "think_ms": piece.think_ms,
        "speak_ms": piece.speak_ms,
        **common,
    }


def _checked(modalities: Sequence[str]) -> Sequence[str]:
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities:
        raise InvalidInput(f"modalities are {list(modalities)}, must be of {', '.join(MODALITIES)}")
    return modalities


def _ms_since(started: float) -> float:
    return 1_000 * (time.monotonic() - started)
