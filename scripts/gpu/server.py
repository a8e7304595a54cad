"""The real tritonserver with the GPU configurations over the tiny checkpoints: answers, tensors that stay, a kill."""

from __future__ import annotations

import io
import signal
import subprocess
import threading
import time

import numpy as np
import psutil
from PIL import Image

from gpu.measuring import Card, Report
from tritone.server.background import Address, model_of, serve
from tritone_client import Client

PART = "server"
MODELS = "text_to_image,llava_answer,clip_text,clip_image,transcribe,tts"
SEEDS, USERS, PICTURES = 8, 16, 3
NEAR = 8  # grey levels of 255 that a picture may differ by between companies: float16


def run(card: Card, report: Report) -> None:
    """All of it."""
    started = time.monotonic()
    device = "gpu" if card.is_gpu else "cpu"
    log = report.file.with_name("server.log")
    with serve(f"--device={device}", f"--models={MODELS}", log_file=log, report=lambda _: None) as address:
        report.add(PART, **{"ready after, s": time.monotonic() - started, "processes on the card": _processes()})
        with Client(address.grpc, timeout_s=120) as client:
            alone = {seed: _draw(client, seed) for seed in range(SEEDS)}
            _ask(report, client, alone[0])
            _crowd(report, address, alone)
            _kill(report, client, address)
        report.add(PART, **{"processes at the end": _processes()})


def _draw(client: Client, seed: int) -> np.ndarray:
    picture = client.generate_image("a red circle", seed=seed, num_inference_steps=20).images[0]
    return np.asarray(picture, np.int16)


def _ask(report: Report, client: Client, picture: np.ndarray) -> None:
    png = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(png, "PNG")
    answer = client.ask("What color is the circle?", png.getvalue()).text
    report.must(PART, f"the circle is red ({answer!r})", "red" in answer.lower())
    heard = client.transcribe(client.speak("The circle is red.").wav).text
    report.must(PART, f"what was spoken is heard ({heard!r})", "circle is red" in heard.lower())


def _crowd(report: Report, address: Address, alone: dict[int, np.ndarray]) -> None:
    """Users draw side by side; each picture is that of its seed: what a call overwrites too early would show."""
    worst, errors = [], list[str]()

    def user(number: int) -> None:
        with Client(address.grpc, timeout_s=120) as client:
            for turn in range(PICTURES):
                seed = (number + turn) % SEEDS
                try:
                    worst.append(int(np.abs(_draw(client, seed) - alone[seed]).max()))
                except Exception as error:
                    errors.append(str(error)[:200])

    started = time.monotonic()
    threads = [threading.Thread(target=user, args=(number,)) for number in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report.add(
        PART, **{"pictures/s": len(worst) / (time.monotonic() - started), "errors": "; ".join(errors[:3]) or "–"}
    )
    report.add(PART, **{"worst difference, grey levels": max(worst, default=-1)})
    report.must(PART, "everybody has the picture of their seed", not errors and max(worst) <= NEAR)


def _kill(report: Report, client: Client, address: Address) -> None:
    stub = next(p for p in psutil.Process(address.process.pid).children(recursive=True) if model_of(p) == "sd_unet")
    stub.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    while time.monotonic() - killed < 60:
        try:
            _draw(client, 0)
            break
        except Exception:
            time.sleep(0.5)
    back = time.monotonic() - killed
    report.add(PART, **{"sd_unet, killed, draws again after, s": back})
    report.must(PART, "a killed network is back within 15 s and its load", back < 45)


def _processes() -> str:
    """Each process on the card and its memory, as the driver counts it."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.strip() or "none"
    except (OSError, subprocess.SubprocessError):
        return "none"
