"""Images per second of the server against the same pipeline in this process and against two usual designs.

    python loadtest/bench/stable_diffusion.py            the tiny checkpoint, and SD 1.5's shape at reduced width

    (a) diffusers in this process, one by one      (b) diffusers in this process, all prompts in one batch: the limit
    (c) Triton, as its published tutorial has it   (d) FastAPI around diffusers

All sides make the same pictures (same checkpoint, seeds, scheduler, steps) and take turns round by round, so that a
machine whose speed drifts slows all of them. Users are threads that ask again as soon as they have their picture, or
when a refusal says.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import torch
import tritonclient.grpc
import typer
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from refusals import patient
from rich.console import Console
from rich.table import Table

from tritone import checkpoints
from tritone.server.background import free_ports, serve
from tritone_client import Client, ImageProgress

HERE = Path(__file__).parent
PROMPT = "a red circle"
GUIDANCE = 5.0
console = Console()


@dataclass
class Side:
    """One way to serve, and what was measured: per concurrency the images/s of each round, and every latency."""

    name: str
    draw: Callable[[int], object]  # makes the picture of a seed; called by as many threads as there are users
    rates: dict[int, list[float]] = field(default_factory=dict)
    latencies: dict[int, list[float]] = field(default_factory=dict)


class Local:
    """The diffusers pipeline in this process."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.pipeline, self.steps = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32), steps
        self.pipeline.scheduler = DPMSolverMultistepScheduler.from_config(self.pipeline.scheduler.config)
        self.pipeline.set_progress_bar_config(disable=True)

    def draw(self, seeds: list[int]) -> np.ndarray:
        """Pictures uint8 (n, height, width, 3) in one batch."""
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        result = self.pipeline(
            [PROMPT] * len(seeds), num_inference_steps=self.steps, guidance_scale=GUIDANCE, generator=generators,
            output_type="np",
        )  # fmt: skip
        return np.asarray((result.images * 255).round().astype(np.uint8))


def eighth_width(folder: Path) -> None:
    """SD 1.5's UNet and autoencoder, all levels and blocks, at an eighth of the width; random weights; 256 pixels."""
    tiny = StableDiffusionPipeline.from_pretrained(checkpoints.path("stable_diffusion"), dtype=torch.float32)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=32, block_out_channels=(40, 80, 160, 160), layers_per_block=2, norm_num_groups=8,
        attention_head_dim=8, cross_attention_dim=tiny.text_encoder.config.hidden_size,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 64, 64), layers_per_block=2, norm_num_groups=8, sample_size=256,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    parts = {**tiny.components, "unet": unet, "vae": vae}
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)


@contextmanager
def sides(folder: Path, steps: int) -> Iterator[tuple[list[Side], Client, Local, str]]:
    """Start everything; the server and its peers stay idle while another side is measured."""
    os.environ |= {checkpoints.VARIABLE: str(folder.parent), "BENCH_STEPS": str(steps)}
    wishes = {"num_inference_steps": steps, "guidance_scale": GUIDANCE, "scheduler": "dpmpp_2m"}
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(
            serve("--device=cpu", "--models=text_to_image", f"--log-file={logs / 'ours.log'}", report=lambda _: None)
        )
        peers = f"--model-repository={HERE / 'diffusion_peers'}"
        # OpenMP's own default, as in this process and under FastAPI: faster where no other model wants the processors.
        os.environ["GOMP_SPINCOUNT"] = "300000"
        # And no signs of life: to it they are callers, and it would draw for them while another side is measured.
        quiet = (peers, "--canary-interval=3600", f"--log-file={logs / 'tutorial.log'}")
        tutorial = stack.enter_context(serve("--device=cpu", *quiet, report=lambda _: None))
        del os.environ["GOMP_SPINCOUNT"]
        fastapi = stack.enter_context(run_fastapi(folder, steps))
        client = stack.enter_context(Client(ours.grpc, timeout_s=600))
        triton = stack.enter_context(tritonclient.grpc.InferenceServerClient(tutorial.grpc))
        local = Local(folder, steps)
        listed = [
            Side("Tritone", lambda seed: patient(lambda: client.generate_image(PROMPT, seed=seed, **wishes))),
            Side("(a) one by one", lambda seed: local.draw([seed])),
            Side("(b) one batch", lambda seed: None),
            Side("(c) tutorial's design", lambda seed: ask_tutorial(triton, seed)),
            Side("(d) FastAPI", lambda seed: fastapi(seed)),
        ]
        yield listed, client, local, ours.grpc


@contextmanager
def run_fastapi(folder: Path, steps: int) -> Iterator[Callable[[int], bytes]]:
    """The FastAPI peer in a process of its own, with as many threads as ours."""
    [port] = free_ports(1)
    command = [sys.executable, str(HERE / "diffusion_peers" / "fastapi_diffusers.py"), str(folder), str(port)]
    process = subprocess.Popen([*command, str(steps)])  # noqa: S603
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(timeout=600) as http:
        try:
            while process.poll() is None:
                try:
                    http.get(f"{address}/health")
                    break
                except httpx.ConnectError:
                    time.sleep(0.2)
            yield (
                lambda seed: (
                    http.post(f"{address}/generate", params={"prompt": PROMPT, "seed": seed}).raise_for_status().content
                )
            )
        finally:
            process.terminate()
            process.wait()


def ask_tutorial(triton: tritonclient.grpc.InferenceServerClient, seed: int) -> bytes:
    """One picture from the tutorial's design."""
    inputs = []
    for name, kind, value in (("prompt", "BYTES", PROMPT.encode()), ("seed", "INT64", seed)):
        tensor = tritonclient.grpc.InferInput(name, [1, 1], kind)
        tensor.set_data_from_numpy(np.array([[value]], np.object_ if kind == "BYTES" else np.int64))
        inputs.append(tensor)
    answer: bytes = triton.infer("tutorial_pipeline", inputs).as_numpy("image_png")[0, 0]
    return answer


def measure(side: Side, local: Local, users: int, images: int) -> None:
    """One round: `images` pictures by `users` users."""
    started = time.perf_counter()

    def timed(seed: int) -> float:
        begun = time.perf_counter()
        side.draw(seed)
        return time.perf_counter() - begun

    if side.name.startswith("(b)"):
        for first in range(0, images, users):
            local.draw(list(range(first, first + users)))
        latencies = [time.perf_counter() - started]
    elif side.name.startswith("(a)"):  # in the main thread: OpenMP threads of a second team would sleep, not spin
        latencies = list(map(timed, range(images)))
    else:
        with ThreadPoolExecutor(users) as pool:
            latencies = list(pool.map(timed, range(images)))
    side.rates.setdefault(users, []).append(images / (time.perf_counter() - started))
    side.latencies.setdefault(users, []).extend(latencies)


def join_waits(client: Client, steps: int, users: int) -> list[float]:
    """How long a newcomer waits for its first step to begin while `users` − 1 others draw, in steps' lengths."""

    def wait(number: int) -> float:
        time.sleep(0.13 * number)  # so that they come at different moments of a step
        begun = time.perf_counter()
        parts = client.generate_image_stream(PROMPT, seed=number, num_inference_steps=steps)
        times = [time.perf_counter() - begun for part in parts if isinstance(part, ImageProgress)]
        length = statistics.median(np.diff(times))
        return float((times[0] - length) / length)

    with ThreadPoolExecutor(users) as pool:
        return list(pool.map(wait, range(5 * users)))


def outside_the_unet(client: Client, address: str, steps: int) -> tuple[float, float]:
    """Milliseconds of a lone image's step, and of it what the UNet does not compute.

    That is the BLS round trip between the two processes, the scheduler's step, and the report to the client.
    """
    with tritonclient.grpc.InferenceServerClient(address) as triton:

        def computed() -> tuple[int, int]:
            [model] = triton.get_inference_statistics("sd_unet").model_stats
            return model.inference_stats.compute_infer.ns, model.execution_count

        nanoseconds, executions = computed()
        parts = client.generate_image_stream(PROMPT, seed=0, num_inference_steps=steps, guidance_scale=GUIDANCE)
        times = [time.perf_counter() for part in parts if isinstance(part, ImageProgress)]
        after = computed()
    step_ms = 1e3 * float(np.mean(np.diff(times)))
    return step_ms, step_ms - (after[0] - nanoseconds) / (after[1] - executions) / 1e6


def compare(title: str, folder: Path, steps: int, rounds: int, images_per_user: int) -> None:
    """Measure all sides on one checkpoint and print the tables."""
    with sides(folder, steps) as (listed, client, local, address):
        drawn = client.generate_image(PROMPT, seed=3, num_inference_steps=steps, guidance_scale=GUIDANCE)
        worst = np.abs(drawn.image.pixels.astype(int) - local.draw([3])[0].astype(int)).max()
        assert worst <= 1, f"the server's picture differs by {worst}"
        for side in listed:
            measure(side, local, 1, 1)
        for side in listed:
            side.rates.clear()
            side.latencies.clear()
        for _ in range(rounds):
            for _ in range(2):
                measure(listed[0], local, 1, 1)
                measure(listed[1], local, 1, 1)
            for users in (4, 8):
                for side in listed:
                    # (a) and (d) are as fast for four users as for eight: one round of fewer pictures tells.
                    measure(side, local, users, users * images_per_user)
        waits = join_waits(client, steps, 4)
        outside = [outside_the_unet(client, address, 20) for _ in range(5)]
    show(title, listed, waits)
    step_ms, rest_ms = np.median(outside, axis=0)
    console.print(f"a step alone: {step_ms:.1f} ms, of which outside the UNet {rest_ms:.1f} ms\n")


def show(title: str, listed: list[Side], waits: list[float]) -> None:
    """Medians over the rounds, and ratios to ours."""
    table = Table(title=title)
    for heading in ("", "users", "images/s", "Tritone's ratio", "mean latency s", "p95"):
        table.add_column(heading, justify="left" if not heading else "right")
    for users in (4, 8):
        ours = statistics.median(listed[0].rates[users])
        for side in listed:
            rate = statistics.median(side.rates[users])
            served = side.name[:3] not in ("(a)", "(b)")
            late = side.latencies[users]
            times = [f"{np.mean(late):.2f}", f"{np.percentile(late, 95):.2f}"] if served else ["–", "–"]
            table.add_row(side.name, str(users), f"{rate:.2f}", f"{ours / rate:.2f}", *times)
        table.add_section()
    console.print(table)
    alone, local = (statistics.median(side.latencies[1]) for side in listed[:2])
    console.print(
        f"one request alone: {alone:.3f} s, in this process {local:.3f} s, ratio {alone / local:.3f}\n"
        f"join wait among 4: median {statistics.median(waits):.2f}, p95 {np.percentile(waits, 95):.2f} step times\n"
    )


def main(
    rounds: int = 3,
    only: Annotated[str, typer.Option(help="tiny or wide; both when empty")] = "",
) -> None:
    """Print one table for each checkpoint."""
    tiny = checkpoints.path("stable_diffusion")
    if only != "wide":
        compare("tiny checkpoint, 64×64, 20 steps", tiny, steps=20, rounds=rounds, images_per_user=2)
    if only != "tiny":
        with tempfile.TemporaryDirectory() as folder:
            eighth_width(Path(folder) / "stable_diffusion")
            title = "SD 1.5's shape at an eighth of the width, 256×256, 8 steps"
            compare(title, Path(folder) / "stable_diffusion", steps=8, rounds=max(1, rounds - 2), images_per_user=2)


if __name__ == "__main__":
    typer.run(main)
