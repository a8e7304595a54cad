"""Single requests that are within the limits, or nearly, and cost far more than they should."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from abuse import catalogue, files, server
from abuse.bench import Bench
from abuse.neighbours import neighbours, p, verdict
from abuse.report import Report, counted
from abuse.wire import SILENT, Caller, Inputs, Outcome, message

DEADLINE_S = 60.0
PART_S = 420.0  # all of it; what is left then is named
LEAST_FREE_MB = 3_000.0  # of the machine: below, the models that eat its memory are killed, and the table says so
SCANS = 1_000
LIST = " ".join(f"{n}. {chr(97 + n % 26)}" for n in range(4_000))[:20_000]


@dataclass(frozen=True)
class Case:
    """Requests that are sent at the same time, each by its own caller."""

    name: str
    model: str
    inputs: Callable[[], Sequence[Inputs]]  # one for each caller; made when it is their turn


def cases(width: int) -> list[Case]:
    """All of them; `width` is that of the text vectors which Stable Diffusion's network reads."""
    one: Callable[..., Callable[[], list[Inputs]]] = lambda **made: lambda: [{n: f() for n, f in made.items()}]  # noqa: E731

    def latents(side: int) -> Callable[[], np.ndarray]:
        return lambda: np.zeros((4, side, side), np.float32)

    huge_question = {"text_input": lambda: "What color is it?", "image_bytes": lambda: [files.huge_png()] * 8}
    wishes = {"prompt": "a red circle", "height": 1024, "width": 1024, "num_images": 4, "num_inference_steps": 2}
    unet = {
        "latents": latents(256),
        "timestep": lambda: np.array([500.0], np.float32),
        "encoder_hidden_states": lambda: np.zeros((77, width), np.float32),
    }
    bomb = partial(files.scan_bomb, SCANS)
    return [
        Case("3 s FLAC, 96 kHz × 8", "transcribe", one(audio_bytes=lambda: files.flac(3, 96_000, 8, 0.1))),
        Case("10 min of silence, stereo FLAC", "transcribe", one(audio_bytes=lambda: files.flac(600, 48_000, 2))),
        Case("200 MB WAV of silence", "transcribe", one(audio_bytes=lambda: files.silent_wav(200_000_000))),
        Case("49 Mpx PNG", "clip_image", one(image_bytes=files.huge_png)),
        Case("8 × 49 Mpx PNG", "llava_answer", one(**huge_question)),
        Case("four times 8 × 49 Mpx PNG", "llava_answer", lambda: list(one(**huge_question)()) * 4),
        Case(f"JPEG of {SCANS:,} scans", "image_decoder", one(image_bytes=bomb)),
        Case(f"JPEG of {SCANS:,} scans", "clip_image", one(image_bytes=bomb)),
        Case("20,000 characters of lists", "speak_stream", one(text=lambda: LIST)),
        Case("latents 4 × 256 × 256", "sd_vae_decoder", one(latents=latents(256))),
        Case("latents 4 × 256 × 256", "sd_unet", lambda: [{n: f() for n, f in unet.items()}]),
        Case("6 × 4 pictures of 1024²", "text_to_image", lambda: [wishes | {"seed": np.int64(n)} for n in range(6)]),
    ]  # fmt: skip


def measure(bench: Bench) -> Report:
    """One row a case."""
    report = Report("hostile: single requests, each as its caller and the server's memory saw it")
    until = time.monotonic() + PART_S
    for case in cases(_width(bench)):
        if time.monotonic() > until:
            report.missed.append(f"{case.name} to {case.model} and what follows were not reached")
            break
        if bench.wanted([case.model]):
            bench.say(f"{case.name} to {case.model}")
            report.rows.append(_one(bench, case, report.missed))
    return report


def _width(bench: Bench) -> int:
    """768, Stable Diffusion 1's, where strangers may not ask the text encoder."""
    with Caller(bench.address.grpc) as caller:
        outcome = caller.ask(message("sd_text_encoder", {"prompt": "a circle"}))
    return int(outcome.parts[0]["prompt_embeds"].shape[-1]) if outcome.ok else 768


def _one(bench: Bench, case: Case, missed: list[str]) -> dict[str, Any]:
    guard = _Guard(bench, case.model)
    requests = [message(case.model, inputs) for inputs in case.inputs()]
    with server.peak(bench.address, guard) as most:
        with neighbours(bench.address.grpc, bench.kinds) as seen:
            outcomes, ordinary = _ask(bench, case.model, requests)
        # What was given up by its caller may still be computed: the next case is not to pay for it.
        busy = server.wait_until_idle(bench.address, _work(case.model), limit_s=45)
    codes = counted(outcome.code for outcome in outcomes)
    where = f"{case.name} to {case.model}"
    bench.say(f"… {codes}, {max(outcome.seconds for outcome in outcomes):.1f} s, busy {busy:.1f} s more")
    if any(outcome.code in ("INTERNAL", "UNKNOWN") for outcome in outcomes):
        missed.append(f"{where}: {codes}")
    if most.restarts or guard.killed:
        missed.append(f"{where}: {most.restarts:g} restarts{guard.note}")
    if ordinary or any(each.faults for each in seen.values()):
        missed.append(
            f"{where}: neighbours {verdict(seen)}, an ordinary request to the same model: {ordinary or 'right'}"
        )
    return {
        "request": f"{case.name} → {case.model}",
        "outcome": f"{codes}{guard.note}\n{_words(outcomes)}",
        "seconds": max(outcome.seconds for outcome in outcomes),
        "busy afterwards, s": busy,
        "own memory before → peak → after, MB": f"{most.before.own:,.0f} → {most.memory:,.0f} → {most.after.own:,.0f}",
        "shm before → after, MB": f"{most.before.shared:,.0f} → {most.after.shared:,.0f}",
        "neighbours": f"{verdict(seen)}, slowest {max(p(each.seconds, 100) for each in seen.values()):.1f} s",
        "ordinary request beside it": ordinary or "right",
    }


def _work(model: str) -> list[str]:
    """The models that work on a request of the model."""
    return [name for name in catalogue.python_models() if catalogue.distance(model, name) is not None]


def _ask(bench: Bench, model: str, requests: Sequence[Any]) -> tuple[list[Outcome], str]:
    """The outcomes, and what was wrong with an ordinary request to the same model that came a moment later."""
    streamed, limit = catalogue.is_decoupled(model), DEADLINE_S

    def send(request: Any) -> Outcome:
        with Caller(bench.address.grpc, limit) as caller:
            return caller.ask(request, streamed)

    def ordinary() -> str:
        threading.Event().wait(0.5)
        samples = bench.kinds.get(model, ())
        with Caller(bench.address.grpc, limit) as caller:
            return samples[0].fault(samples[0].ask(caller)) if samples else ""

    with ThreadPoolExecutor(len(requests) + 1) as pool:
        beside = pool.submit(ordinary)
        return list(pool.map(send, requests)), beside.result()


def _words(outcomes: Sequence[Outcome]) -> str:
    said = sorted({outcome.detail[:150] for outcome in outcomes if outcome.code != SILENT and outcome.detail})
    return "; ".join(said[:2])


class _Guard:
    """Kills the models under abuse before the machine itself has no memory left."""

    def __init__(self, bench: Bench, model: str) -> None:
        self._bench, self._models, self.killed = bench, _work(model), False

    def __call__(self, free_mb: float) -> None:
        if free_mb > LEAST_FREE_MB:
            return
        self.killed = True
        victims = [stub for model in self._models for stub in server.stubs(self._bench.address, model)]
        max(victims, key=lambda stub: server.own_memory([stub])).kill()

    @property
    def note(self) -> str:
        """For the table."""
        return f"; largest stub killed, as the machine had less than {LEAST_FREE_MB:,.0f} MB" if self.killed else ""
