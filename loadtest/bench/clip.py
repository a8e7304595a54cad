"""CLIP for 32 users at a time: this server beside FastAPI, LitServe, PyTriton, and the best batch in one process.

    python loadtest/bench/clip.py

A random network of the size of OpenAI's ViT-B/32, the same for everybody, in float32 on this machine's CPU. The
servers take turns, round by round; a peer that waits is stopped, as some poll while they are idle. Three kinds of
requests: texts that fill all 77 tokens, captions as people write them, and JPEG pictures.
"""

import base64
import contextlib
import io
import itertools
import os
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import numpy as np
import torch
import tritonclient.grpc
import typer
from clip_peers import Clip
from rich.console import Console
from rich.table import Table
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from tritone import checkpoints
from tritone.server.background import free_ports, serve
from tritone.vision.clip import ImageEncoder, TextEncoder, Tokenizer
from tritone.vision.shapes import caption, draw_scene, render
from tritone_client import Client

USERS = 32
BATCHES = (8, 16, 32)  # the best of them is the machine's limit
START_S = 120.0
OURS = "tritone, gRPC"
Item = str | bytes  # a text, or a JPEG file
Embed = Callable[[Item], np.ndarray]


@dataclass
class Server:
    """A server that embeds one item; `group` is its process group, None for ours."""

    embed: Embed
    group: int | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[Embed]:
        """Awake while the context lasts."""
        if self.group is not None:
            os.killpg(self.group, signal.SIGCONT)
        yield self.embed
        if self.group is not None:
            os.killpg(self.group, signal.SIGSTOP)


@dataclass
class Score:
    """What one contestant did, over all rounds."""

    rates: list[float] = field(default_factory=list)  # items per second, per round
    seconds: list[float] = field(default_factory=list)  # of each request

    @property
    def rate(self) -> float:
        """Median items per second."""
        return statistics.median(self.rates)

    @property
    def p95_ms(self) -> float:
        """95 of 100 requests were faster."""
        return 1000 * float(np.percentile(self.seconds, 95))


def write_checkpoint(folder: Path) -> None:
    """A random CLIP of ViT-B/32's size, with the tiny checkpoint's tokenizer in a vocabulary of OpenAI's size."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(checkpoints.path("clip"))
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    CLIPModel(CLIPConfig(text_config={"vocab_size": 49_408, **special})).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def workloads(count: int) -> dict[str, list[Item]]:
    """Distinct requests of three kinds."""
    random = Random(0)
    scenes = [draw_scene(random, count=1 + number % 2) for number in range(count)]
    captions: list[Item] = [caption(scene) for scene in scenes]
    full: list[Item] = [" ".join(random.choices(("red", "circle", "blue", "square"), k=75)) for _ in scenes]
    pictures: list[Item] = []
    for scene in scenes:
        file = io.BytesIO()
        render(scene, 320).save(file, "JPEG")
        pictures.append(file.getvalue())
    return {"text, 77 tokens": full, "text, captions": captions, "image": pictures}


# ---- the servers, each as a function that embeds one item


@contextlib.contextmanager
def tritone_server() -> Iterator[Server]:
    """This project."""
    options = ("--device=cpu", "--models=clip_text,clip_image")
    with serve(*options, report=lambda _: None) as address, Client(address.grpc) as client:
        yield Server(client.embed)


@contextlib.contextmanager
def http_peer(peer: str, checkpoint: Path) -> Iterator[Server]:
    """FastAPI or LitServe."""
    with (
        _process(peer, checkpoint) as (port, group),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as web,
    ):

        def embed(item: Item) -> np.ndarray:
            if peer == "fastapi":
                content = item.encode() if isinstance(item, str) else item
                answer = web.post("/text" if isinstance(item, str) else "/image", content=content)
            elif isinstance(item, str):
                answer = web.post("/text", json={"text": item})
            else:
                answer = web.post("/image", json={"image": base64.b64encode(item).decode()})
            answer.raise_for_status()
            return np.array(answer.json(), np.float32)

        yield Server(embed, group)


@contextlib.contextmanager
def pytriton_peer(checkpoint: Path) -> Iterator[Server]:
    """PyTriton, over gRPC too."""
    with (
        _process("pytriton", checkpoint) as (port, group),
        tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):

        def embed(item: Item) -> np.ndarray:
            name, data = ("text", item.encode()) if isinstance(item, str) else ("image", item)
            tensor = tritonclient.grpc.InferInput(name, [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[data]], np.object_))
            return client.infer(name, [tensor]).as_numpy("embeds")[0]

        yield Server(embed, group)


@contextlib.contextmanager
def _process(peer: str, checkpoint: Path) -> Iterator[tuple[int, int]]:
    """A peer in a process of its own; its port and process group."""
    port = free_ports(1)[0]
    command = [sys.executable, str(Path(__file__).with_name("clip_peers.py")), peer, str(checkpoint), str(port)]
    # PyTriton's stub must find the library of this very Python.
    env = {**os.environ, "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        try:
            yield port, process.pid
        except Exception:
            log.seek(0)
            sys.stderr.write(log.read()[-3000:].decode(errors="replace"))
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(embed: Embed, item: Item) -> np.ndarray:
    """The first answer of a server that is starting."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return embed(item)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


# ---- measuring


def crowd(embed: Embed, items: list[Item], score: Score) -> None:
    """All items, by 32 users, each of whom sends the next one as soon as the last one is answered."""

    def request(item: Item) -> float:
        started = time.perf_counter()
        embed(item)
        return time.perf_counter() - started

    with ThreadPoolExecutor(USERS) as pool:
        started = time.perf_counter()
        score.seconds += pool.map(request, items)
        score.rates.append(len(items) / (time.perf_counter() - started))


def in_process(clip: Clip, folder: Path) -> dict[str, dict[str, Callable[[list], object]]]:
    """Per workload, what can be done in one process with a list of items."""
    tokenizer, ours = Tokenizer.load(folder, 10_000), TextEncoder.load(folder, "cpu", "float32")
    images = ImageEncoder.load(folder, "cpu", "float32")

    def embed_pictures(files: list[bytes]) -> object:
        return images.encode([pixels for file in files for pixels in clip.pixel_values([file]).numpy()])

    texts = {
        "all 77 tokens": clip.embed_texts,
        "as long as the longest": lambda texts: clip.embed_texts(texts, padding=True),
        "and no more than is read": lambda texts: ours.encode([tokenizer.tokenize(text).input_ids for text in texts]),
    }
    whole = "all 77 tokens", "and no more than is read"
    return {
        "text, 77 tokens": {name: texts[name] for name in whole},
        "text, captions": texts,
        "image": {"the whole network": clip.embed_images, "and no more than is read": embed_pictures},
    }


def measure_in_process(embed: Callable[[list], object], items: list[Item], batch: int, score: Score) -> None:
    """Items in batches, one after the other."""
    started = time.perf_counter()
    for start in range(0, len(items), batch):
        embed(items[start : start + batch])
    score.rates.append(len(items) / (time.perf_counter() - started))


def main(rounds: int = 1, count: int = 96) -> None:
    """Print a table per kind of request."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary, "clip")
        write_checkpoint(folder)
        os.environ[checkpoints.VARIABLE] = temporary
        clip, kinds = Clip(folder), workloads(4 * count)
        servers: dict[str, Server] = {
            "FastAPI, one by one": stack.enter_context(http_peer("fastapi", folder)),
            "LitServe, batching": stack.enter_context(http_peer("litserve", folder)),
            "PyTriton, batching": stack.enter_context(pytriton_peer(folder)),
            OURS: stack.enter_context(tritone_server()),
        }
        for name, server in servers.items():  # every contestant answers, and the same
            console.print(f"[dim]waiting for {name}[/]")
            with server.turn() as embed:
                for items, direct in ((kinds["text, captions"], clip.embed_texts), (kinds["image"], clip.embed_images)):
                    assert np.abs(wait_for(embed, items[0]) - direct(items[:1])[0]).max() < 1e-5
        alone = in_process(clip, folder)
        scores: dict[tuple[str, str], Score] = defaultdict(Score)
        for number, (kind, items) in itertools.product(range(rounds), kinds.items()):
            console.print(f"[dim]round {number + 1} of {rounds}: {kind}[/]")
            for way, function in alone[kind].items():
                for batch in (1, *BATCHES):
                    some = items[: count // 2 if batch > 1 else count // 8]
                    measure_in_process(function, some, batch, scores[kind, f"{way}|{batch}"])
            for name, server in servers.items():
                # Who is quicker gets more to do, so that nobody's round is too short to be measured.
                quick = 4 if name == OURS and kind == "text, captions" else 1
                with server.turn() as embed:
                    crowd(embed, items[: quick * count], scores[kind, name])
        for kind in kinds:
            console.print(table(kind, scores, list(alone[kind]), list(servers)))


def table(kind: str, scores: dict[tuple[str, str], Score], ways: list[str], servers: list[str]) -> Table:
    """One kind of request: in this process, then served."""
    rates = {(way, batch): scores[kind, f"{way}|{batch}"].rate for way, batch in itertools.product(ways, (1, *BATCHES))}
    best = {way: max(BATCHES, key=lambda batch, way=way: rates[way, batch]) for way in ways}
    limit = rates[ways[0], best[ways[0]]]
    result = Table(kind, "per second", "÷ best batch", "p95 ms", title=f"{kind}, {USERS} at a time", min_width=100)
    for way in ways:
        for batch in (1, best[way]):
            rate = rates[way, batch]
            result.add_row(f"in one process, batch {batch}, {way}", f"{rate:.1f}", f"{rate / limit:.2f}", "")
    for name in servers:
        score = scores[kind, name]
        result.add_row(name, f"{score.rate:.1f}", f"{score.rate / limit:.2f}", f"{score.p95_ms:.0f}")
    return result


if __name__ == "__main__":
    typer.run(main)
