"""How fast text is spoken: the server, and Coqui's own VITS in this process, on the same sentences.

    python loadtest/bench/tts.py

Real-time factor: seconds of work for a second of sound, smaller is faster. In this process the sentences run one after
another, which on a CPU is also Coqui's fastest way: a batch pays for its padding. Both sides take turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
import typer
from rich.console import Console
from rich.table import Table

from tritone import checkpoints
from tritone.server.background import serve
from tritone.speech.speaking.vits import Vits
from tritone_client import Client

SENTENCES = (
    "The circle is red.",
    "There are two stars on the left side of the picture.",
    "A blue square is in the middle.",
    "Yes, there is a green triangle.",
    "The quick brown fox jumps over the lazy dog.",
    "I do not see a heart in this picture.",
    "The yellow star is above the white cross.",
    "Good morning, how can I help you?",
)


def coqui() -> Callable[[str], float]:
    """Speak a sentence with the bare network, phonemes included; returns the seconds of sound."""
    voice = Vits.load(checkpoints.path("tts"), "cpu")

    @torch.inference_mode()
    def speak(text: str) -> float:
        phonemes = voice.prepare(text.split())
        assert phonemes is not None
        ids = torch.tensor([voice.encode(phonemes.text)[0]])
        waveform = voice._network.inference(ids)["model_outputs"]  # (1, 1, n_samples)
        return float(waveform.shape[-1]) / voice.sampling_rate

    return speak


def main(rounds: int = 8) -> None:
    """Print the medians of the real-time factors and their ratios."""
    console, speak = Console(), coqui()
    with serve("--device=cpu", "--models=tts", report=lambda _: None) as address, Client(address.grpc) as client:
        sides: dict[str, Callable[[], float]] = {
            "Coqui in this process": lambda: sum(map(speak, SENTENCES)),
            "server, concurrency 1": lambda: sum(client.speak(text).duration for text in SENTENCES),
            "server, concurrency 8": lambda: sum(together(client)),
        }
        factors: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds + 1):
            for name, side in sides.items():
                started = time.perf_counter()
                sound = side()
                factors[name].append((time.perf_counter() - started) / sound)
    medians = {name: statistics.median(values[1:]) for name, values in factors.items()}
    table = Table("tts", "real-time factor", "ratio", title=f"{len(SENTENCES)} sentences, {rounds} rounds")
    own = medians["Coqui in this process"]
    for name, factor in medians.items():
        table.add_row(name, f"{factor:.3f}", f"{factor / own:.2f}")
    console.print(table)


def together(client: Client) -> list[float]:
    """All sentences at once; the seconds of sound of each."""
    with ThreadPoolExecutor(len(SENTENCES)) as pool:
        return list(pool.map(lambda text: client.speak(text).duration, SENTENCES))


if __name__ == "__main__":
    typer.run(main)
