"""Recordings of any length → text: cut where it is quiet, hear the pieces, put them together again.

What hears a piece is given from outside (in the server, a call of the model `whisper`), so this module runs, and is
tested, without Triton and without a network.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from tritone.media.audio import SAMPLING_RATE, Audio, peak
from tritone.speech.listening.log_mel import FRAMES_A_SECOND
from tritone.speech.listening.transcript import Segment, Span, Transcript

LONGEST_SECONDS = 30.0  # of a piece: what Whisper hears at once
SHORTEST_SECONDS = 24.0  # of a piece that another one follows
QUIET_SECONDS = 0.2  # a cut lies in the middle of the quietest stretch of this length: between two words
# Behind a long pause Whisper often hears nothing more of its window: such a pause is a piece of its own.
PAUSE_SECONDS = 4.0
PAUSE_DB = 45.0  # below the loudest; a loud room has no pauses, and there Whisper hears no silence either
MARGIN_SECONDS = 0.5  # of a pause that stays with the words around it
# Whisper may end before its window does and leave the last words out: as much sound as this is heard again. Less may
# be the last word's own end, for which it would invent words.
REST_SECONDS = 0.8
REST_LOUDNESS = 0.05  # of the piece's loudest sample; what is quieter is no speech
REST_SPEECH_SECONDS = 0.4  # of the rest that a voice must take; music and clocks are loud as well
# A word said for half a minute makes Whisper end after one of them, again and again.
SHORTEST_STEP_SECONDS = 1.0  # from one time that a stretch is heard to the next
MOST_PASSES = 4  # that a stretch is heard
# Loudness that Whisper and the voice's detector were made for: RMS of the loudest QUIET_SECONDS. Sound outside of it is
# brought to LOUDNESS; a loud sample alone, such as a click, decides nothing.
QUIETEST, LOUDNESS, LOUDEST = 0.01, 0.1, 0.35
FAINTEST = 1.5 * 2**-15  # the largest sample of silence: what rounding to 16 bits leaves


@dataclass(frozen=True)
class Piece:
    """A part of a recording; `start` in seconds."""

    start: float
    audio: Audio  # (n_samples,) at 16 kHz

    @property
    def end(self) -> float:
        """In seconds from the start of the recording."""
        return self.start + len(self.audio) / SAMPLING_RATE


@dataclass(frozen=True)
class Options:
    """What the caller wants; "" is whatever the model does by itself."""

    language: str = ""
    task: str = ""
    initial_prompt: str = ""
    word_timestamps: bool = False
    temperature: float = 0.0


S = TypeVar("S", bound=Span)
Hear = Callable[[Audio, Options], Awaitable[Transcript]]
Voice = Callable[[Audio], Awaitable[Sequence[tuple[int, int]]]]  # (n_samples,) → samples where somebody speaks


def split(audio: Audio) -> list[Piece]:
    """Cut a recording (n_samples,) into pieces of at most 30 s that together are the whole recording.

    Cuts lie at both ends of every pause of more than 4 s, and else where it is quietest between 24 and 30 s after the
    one before.
    """
    pieces, start = [], 0
    shortest, longest = (int(seconds * SAMPLING_RATE) for seconds in (SHORTEST_SECONDS, LONGEST_SECONDS))
    for end in [*_pause_ends(audio), len(audio)]:
        while end - start > longest:
            cut = start + shortest + _quietest(audio[start + shortest : start + longest])
            pieces.append(Piece(start / SAMPLING_RATE, audio[start:cut]))
            start = cut
        pieces.append(Piece(start / SAMPLING_RATE, audio[start:end]))
        start = end
    return pieces


def _pause_ends(audio: Audio) -> list[int]:
    """The samples where the long pauses between sounds of (n_samples,) begin and end, margins left to the sounds."""
    frame, margin = int(QUIET_SECONDS * SAMPLING_RATE), int(MARGIN_SECONDS * SAMPLING_RATE)
    loud = _sounding(audio, peak(audio) * 10 ** (-PAUSE_DB / 20))
    pauses = [((first + 1) * frame, last * frame) for first, last in itertools.pairwise(loud)]
    long = [(first, last) for first, last in pauses if last - first > PAUSE_SECONDS * SAMPLING_RATE]
    return [sample for first, last in long for sample in (first + margin, last - margin)]


async def transcribe(
    pieces: Sequence[Piece], options: Options, voice: Voice, hear: Hear, at_once: int
) -> AsyncGenerator[Transcript, None]:
    """Hear a recording that `split` has cut: yields what was said in each piece, in order, in the recording's time.

    The first piece with speech is heard alone if no language is given: its language is that of all. `at_once` pieces
    are under way at a time, so that a long recording cannot push everybody else aside. Where nobody speaks nothing is
    heard at all, as Whisper invents words for silence, noise and music.
    """
    pieces = list(pieces)
    while pieces and not options.language:
        heard = await _hear(pieces.pop(0), options, voice, hear)
        options = replace(options, language=heard.language if heard.text else "")
        yield heard
    tasks: list[asyncio.Task[Transcript]] = []
    try:
        for number in range(len(pieces)):
            tasks += [
                asyncio.create_task(_hear(piece, options, voice, hear))
                for piece in pieces[len(tasks) : number + at_once]
            ]
            yield await tasks[number]
    finally:
        for task in tasks:
            task.cancel()


def join(parts: Sequence[Transcript]) -> Transcript:
    """What was said in the whole recording."""
    spoken = [part for part in parts if part.text]
    return Transcript(
        " ".join(part.text for part in spoken),
        next((part.language for part in spoken), ""),
        tuple(segment for part in spoken for segment in part.segments),
        tuple(word for part in spoken for word in part.words),
    )


async def _hear(piece: Piece, options: Options, voice: Voice, hear: Hear) -> Transcript:
    """What was said in a piece."""
    if peak(piece.audio) <= FAINTEST:
        return Transcript()
    piece = replace(piece, audio=await asyncio.to_thread(levelled, piece.audio))
    spoken = await voice(piece.audio)
    parts = [
        await _hear_stretch(Piece(piece.start + start / SAMPLING_RATE, piece.audio[start:end]), inside, options, hear)
        for start, end, inside in _stretches(spoken, len(piece.audio))
    ]
    return join(parts)


async def _hear_stretch(piece: Piece, spoken: Sequence[tuple[int, int]], options: Options, hear: Hear) -> Transcript:
    """What was said in a stretch, heard again from where the last segment ends while there is speech behind it."""
    parts: list[Transcript] = []
    loudness, start, whole = REST_LOUDNESS * peak(piece.audio), 0, piece
    for _ in range(MOST_PASSES):
        heard = await hear(piece.audio, options)
        segments = tuple(_sought(_shift(segment, piece), piece) for segment in heard.segments)
        parts.append(replace(heard, segments=segments, words=tuple(_shift(word, piece) for word in heard.words)))
        end = heard.segments[-1].end if heard.segments else 0.0
        start += int(max(end, SHORTEST_STEP_SECONDS) * SAMPLING_RATE)
        rest = whole.audio[start:]
        voiced = sum(max(0, last - max(first, start)) for first, last in spoken)
        if end <= 0 or voiced < REST_SPEECH_SECONDS * SAMPLING_RATE:
            break
        if len(_sounding(rest, loudness)) * QUIET_SECONDS < REST_SECONDS:
            break
        piece = Piece(whole.start + start / SAMPLING_RATE, rest)
    return join(parts)


def _stretches(spoken: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """What is heard of `length` samples: start and end, with margins around the speech, and the speech in it, from
    there. Pauses of up to PAUSE_SECONDS are heard with the words around them."""
    margin, pause = int(MARGIN_SECONDS * SAMPLING_RATE), int(PAUSE_SECONDS * SAMPLING_RATE)
    groups: list[list[tuple[int, int]]] = []
    for first, last in spoken:
        if groups and first - groups[-1][-1][1] <= pause:
            groups[-1].append((first, last))
        else:
            groups.append([(first, last)])
    stretches = []
    for group in groups:
        start, end = max(0, group[0][0] - margin), min(length, group[-1][1] + margin)
        stretches.append((start, end, [(first - start, last - start) for first, last in group]))
    return stretches


def levelled(audio: Audio) -> Audio:
    """The same samples (n_samples,) if they are neither too quiet nor too loud to be heard, else as loud as speech.

    Loudness is the RMS of the loudest QUIET_SECONDS.
    """
    length = min(len(audio), int(QUIET_SECONDS * SAMPLING_RATE))
    stretches = audio[: len(audio) // length * length].reshape(-1, length)
    loudness = float(np.sqrt(np.einsum("sn,sn->s", stretches, stretches).max() / length))
    if not loudness or QUIETEST <= loudness <= LOUDEST:
        return audio
    return audio * np.float32(LOUDNESS / loudness)


def _shift(span: S, piece: Piece) -> S:
    """The same in the recording's time. Whisper may end a segment in the padding behind the sound."""
    return replace(span, start=_time(piece, span.start), end=_time(piece, span.end))


def _sought(segment: Segment, piece: Piece) -> Segment:
    """The segment with the place of its window in the recording: that of the piece, as each is a window of its own."""
    return replace(segment, seek=round(piece.start * FRAMES_A_SECOND))


def _time(piece: Piece, seconds: float) -> float:
    return round(min(piece.start + seconds, piece.end), 3)


def _sounding(audio: Audio, loudness: float) -> list[int]:
    """Which stretches of QUIET_SECONDS of (n_samples,) hold a sample above a loudness."""
    length = int(QUIET_SECONDS * SAMPLING_RATE)
    peaks = np.abs(audio[: len(audio) // length * length].reshape(-1, length)).max(axis=1, initial=0.0)
    return [int(stretch) for stretch in np.flatnonzero(peaks > loudness)]


def _quietest(audio: Audio) -> int:
    """The sample in the middle of the quietest QUIET_SECONDS of (n_samples,)."""
    length = int(QUIET_SECONDS * SAMPLING_RATE)
    power = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    return int(np.argmin(power[length:] - power[:-length])) + length // 2
