"""`tritone talk`: a spoken question, answered aloud; with a microphone a conversation that can be interrupted."""

import contextlib
import io
import math
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from tritone_client import Client, Error, InvalidInput, ReplyChunk, Speech, Turn, heard
from tritone_client.cli import options, sound
from tritone_client.cli.session import Session, session
from tritone_client.cli.sound import NoSound, Player, until_silent
from tritone_client.cli.streams import Input, writable


def talk(
    context: typer.Context,
    question: Annotated[
        str | None, typer.Argument(help="A sound file; - is standard input; without one the microphone is heard.")
    ] = None,
    pictures: Annotated[list[str] | None, typer.Argument(help="Picture files to talk about.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="The same, for the microphone. May be repeated.")] = None,
    output: options.Output = None,
    system: options.System = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    seed: options.Seed = None,
    adapter: options.Adapter = None,
    language: options.Language = None,
    voice: options.Voice = None,
    speed: options.Speed = None,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 300,
    as_json: options.Json = False,
) -> None:
    """Ask aloud and be answered aloud; speaking interrupts.

    tritone talk question.wav cat.png
    """
    sampling = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, "adapter": adapter}
    manner = {**sampling, "language": language, "voice": voice, "speed": speed}
    with session(context, server, timeout, as_json) as run:
        stdin = Input()
        shown = [stdin.file(picture) for picture in [*(pictures or ()), *(image or ())]]
        conversation = Conversation(run.client, shown, system, manner)
        if question is not None:
            _check(output)
            _once(run, conversation, stdin.file(question), output)
        elif output is not None:
            raise InvalidInput("-o keeps the answer to a question in a file, not a conversation: name the question")
        else:
            _with_microphone(run, conversation)


class Conversation:
    """What was said, heard and shown so far.

    Args:
        pictures: those that the first question is about.
        manner: how it is answered: arguments of `Client.converse_stream`.
    """

    def __init__(self, client: Client, pictures: list[str | bytes], system: str | None, manner: dict[str, Any]) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self._client, self._pictures, self._manner = client, pictures, manner
        self._new = list(pictures)  # what no remembered question has shown yet

    def reply(self, audio: Any, sampling_rate: int | None = None) -> Generator[ReplyChunk, None, None]:
        """The next answer, clause by clause."""
        about: dict[str, Any] = {"images": self._pictures or None, "messages": self.messages or None}
        return self._client.converse_stream(audio, sampling_rate=sampling_rate, **about, **self._manner)

    def remember(self, chunks: list[ReplyChunk], seconds: float = math.inf) -> str:
        """Keep the question and what was heard of the answer within so many seconds; returns that.

        Where nothing was heard, the question was not over: it is asked again with what comes.
        """
        said = heard(chunks, seconds)
        if said:
            content = [*({"type": "image"} for _ in self._new), {"type": "text", "text": chunks[0].transcript or ""}]
            self.messages += [{"role": "user", "content": content}, {"role": "assistant", "content": said}]
            self._new = []
        return said


class Answering:
    """An answer that is being received and played, in a thread of its own.

    Args:
        show: what is told of each clause.
        player: None where there is none.
    """

    def __init__(
        self, chunks: Generator[ReplyChunk, None, None], show: Callable[[ReplyChunk], None], player: Player | None
    ) -> None:
        self.chunks: list[ReplyChunk] = []
        self.error: Error | OSError | None = None
        self._source, self._show, self._player = chunks, show, player
        self._lock, self._left = threading.Lock(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_over(self) -> bool:
        """Whether all has come and has been heard."""
        return not self._thread.is_alive() and (self._player is None or self._player.is_silent())

    def leave(self) -> float:
        """Stop it; returns the seconds that were heard."""
        with self._lock:
            self._left = True
            return self._player.stop() if self._player else 0.0

    def wait(self) -> None:
        """Until it is over."""
        self._thread.join()
        if self._player:
            until_silent(self._player)

    def _run(self) -> None:
        """A stream is closed by the thread that reads it: within a clause after `leave`."""
        try:
            with contextlib.closing(self._source) as chunks:
                for chunk in chunks:
                    with self._lock:
                        if self._left:
                            return
                        self.chunks.append(chunk)
                        self._show(chunk)
                        if chunk.speech and self._player:
                            self._player.play(chunk.speech)
        except (Error, OSError) as error:  # OSError: whoever read the output has left
            self.error = error


def _with_microphone(run: Session, conversation: Conversation) -> None:
    """Turns until Ctrl-C. While an answer plays the microphone listens: who speaks stops it."""
    detector, player = sound.detector(), _player(run)
    answer: Answering | None = None
    with contextlib.closing(run.outside.microphone()) as blocks:
        run.waiting("speak; Ctrl-C ends")
        for block in blocks:
            turns = detector.feed(block)
            if answer and (answer.is_over() or turns or detector.is_speaking):
                _end(run, conversation, answer)
                answer = None
            for turn in turns:
                answer = _answer(run, conversation, turn, player)
        for turn in detector.finish():
            answer = _answer(run, conversation, turn, player)
    if answer:
        answer.wait()
        _end(run, conversation, answer)


def _answer(run: Session, conversation: Conversation, turn: Turn, player: Player | None) -> Answering:
    run.waiting("thinking")
    return Answering(conversation.reply(turn.audio, turn.sampling_rate), lambda chunk: _show(run, chunk), player)


def _end(run: Session, conversation: Conversation, answer: Answering) -> None:
    """An answer is over, was interrupted, or has failed: what was heard of it is remembered.

    Raises: Error: it failed, other than by words that could not be heard.
    """
    was_over = answer.is_over()
    seconds = answer.leave()
    if isinstance(answer.error, InvalidInput):
        run.failed(answer.error)
    elif answer.error:
        raise answer.error
    elif was_over:
        conversation.remember(answer.chunks)
    else:
        run.note(f"(interrupted; heard: {conversation.remember(answer.chunks, seconds) or 'nothing'})")
    run.waiting("speak; Ctrl-C ends")


def _once(run: Session, conversation: Conversation, question: str | bytes, output: Path | None) -> None:
    """One question from a file."""
    player = None if output else _player(run)
    run.waiting("thinking")
    sounds = []
    with contextlib.closing(conversation.reply(question)) as chunks:
        for chunk in chunks:
            _show(run, chunk)
            if chunk.speech:
                sounds.append(chunk.speech)
                if player:
                    player.play(chunk.speech)
    if output and sounds:
        output.write_bytes(_wav(sounds))
    if player:
        until_silent(player)


def _check(output: Path | None) -> None:
    """Before the work; raises InvalidInput."""
    writable(output, on_stdout=True)
    if output is not None and output.suffix.lower() != ".wav":
        raise InvalidInput(f"{output} must end in .wav")


def _wav(sounds: list[Speech]) -> bytes:
    """All clauses in one file.

    Raises: InvalidInput: they have several sampling rates, as voices of several engines have.
    """
    rates = sorted({sound.sampling_rate for sound in sounds})
    if len(rates) > 1:
        raise InvalidInput(f"the answer has clauses of {rates} Hz, which is no one file: choose one --voice")
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([sound.audio for sound in sounds]), rates[0], "PCM_16", format="WAV")
    return file.getvalue()


def _player(run: Session) -> Player | None:
    try:
        return run.outside.loudspeaker()
    except NoSound as error:
        run.note(f"tritone: {error}: the answer can be read alone")
        return None


def _show(run: Session, chunk: ReplyChunk) -> None:
    if run.as_json:
        words = [vars(word) for word in chunk.speech.words] if chunk.speech else []
        facts = {"duration": chunk.speech.duration if chunk.speech else 0.0, "words": words}
        plain = {name: value for name, value in vars(chunk).items() if name not in ("speech", "latencies")}
        run.record({**plain, **facts, "latencies": vars(chunk.latencies)})
        return
    if chunk.transcript:
        run.note(f"› {chunk.transcript}")
    run.result(chunk.text, end=chunk.finish_reason is not None)
    if chunk.speech_error:
        run.note(chunk.speech_error)
