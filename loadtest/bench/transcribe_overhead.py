"""What the server adds to `transcribe`: the same sound through gRPC and through the same code in this process.

    python loadtest/bench/transcribe_overhead.py

The two take turns, one call each, so that a machine whose speed drifts slows both. Concurrency 1.
"""

import io
import statistics
import time
from collections.abc import Callable

import soundfile
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tritone import checkpoints
from tritone.media import audio, sound_files
from tritone.server.background import serve
from tritone.speech.listening.whisper import LogMel, Whisper
from tritone_client import Client

SENTENCE = "The red circle is in the top left, and the blue square is in the middle of the picture."


def in_process() -> Callable[[bytes], str]:
    """The work of the models `audio_decoder`, `transcribe` and `whisper`, called as functions."""
    folder = checkpoints.path("whisper")
    log_mel, whisper = LogMel.load(folder), Whisper.load(folder, "cpu", "fastest")

    def transcribe(sound: bytes) -> str:
        samples = sound_files.decode(sound, max_bytes=2**26, max_seconds=600)
        window = whisper.prepare(log_mel(samples), duration=len(samples) / audio.SAMPLING_RATE)
        return whisper.transcribe([window])[0].text

    return transcribe


def main(rounds: int = 40, warm_up: int = 5) -> None:
    """Print both medians and their ratio."""
    console = Console()
    transcribe = in_process()
    with (
        serve("--device=cpu", "--models=transcribe,tts", report=lambda _: None) as address,
        Client(address.grpc) as client,
    ):
        sound = client.speak(SENTENCE).wav
        assert client.transcribe(sound).text == transcribe(sound)
        served_s, local_s = [], []
        for _ in track(range(warm_up + rounds), "measuring", console=console, transient=True):
            served_s.append(seconds(lambda: client.transcribe(sound)))
            local_s.append(seconds(lambda: transcribe(sound)))
    served, local = (statistics.median(times[warm_up:]) for times in (served_s, local_s))
    table = Table("transcribe, concurrency 1", "median ms", title=f"{_length(sound):.1f} s of speech, {rounds} rounds")
    table.add_row("in this process", f"{1000 * local:.1f}")
    table.add_row("server, gRPC", f"{1000 * served:.1f}")
    table.add_row("ratio", f"{served / local:.3f}")
    console.print(table)


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _length(sound: bytes) -> float:
    return soundfile.info(io.BytesIO(sound)).duration


if __name__ == "__main__":
    typer.run(main)
