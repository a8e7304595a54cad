"""SIGTERM while pictures are drawn and streams run: who is still answered, who is told, and what is left behind."""

from __future__ import annotations

import http.client
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from abuse import server
from abuse.bench import REFUSALS, Bench
from abuse.report import Report, counted
from abuse.wire import OK, SILENT, Caller, Outcome, message

PICTURES = 8
STEPS = 40
STREAMS = 4
GONE_S = 120.0
WORDS = "The red circle is in the middle. There is a blue star in the top left of it. " * 4


def measure(bench: Bench) -> Report:
    """One row: what became of the requests in flight, of newcomers, and of the server."""
    address = bench.address
    regions, folders = server.regions(address), _folders(address.process.pid)
    idle = http.client.HTTPConnection(address.http, timeout=5)
    idle.request("GET", "/v2/health/live")
    idle.getresponse().read()  # and the connection is kept
    picture = {"prompt": "a red circle", "num_inference_steps": STEPS}
    requests = [message("text_to_image", {**picture, "seed": np.int64(n)}) for n in range(PICTURES)]
    streams = [message("speak_stream", {"text": WORDS}) for _ in range(STREAMS)]
    with ThreadPoolExecutor(PICTURES + STREAMS + 1) as pool:
        flying = [pool.submit(_ask, address.grpc, request, False) for request in requests]
        flying += [pool.submit(_ask, address.grpc, request, True) for request in streams]
        time.sleep(1.0)
        bench.say(f"SIGTERM with {sum(not each.done() for each in flying)} requests in flight")
        regions |= server.regions(address)
        at = time.monotonic()
        address.process.send_signal(signal.SIGTERM)
        newcomers = pool.submit(_newcomers, bench)
        code = _ended(address.process)
        gone = time.monotonic() - at
        outcomes, new = [each.result() for each in flying], newcomers.result()
    idle.close()
    lost = [outcome for outcome in outcomes if outcome.code not in (OK, *REFUSALS)]
    left = [path.name for path in (*regions, *folders) if path.exists()]
    row = {
        "in flight": len(outcomes),
        "pictures": counted(outcome.code for outcome in outcomes[:PICTURES]),
        "streams": counted(outcome.code for outcome in outcomes[PICTURES:]),
        "newcomers": counted(outcome.code for outcome in new),
        "last answer after, s": max((o.started + o.seconds - at for o in outcomes), default=0.0),
        "gone after, s": gone,
        "exit code": code,
        "left behind": ", ".join(left) or "nothing",
    }
    missed = [f"{len(lost)} requests in flight were lost: {counted(o.code for o in lost)}"] if lost else []
    missed += [f"{SILENT}: callers were left waiting"] if any(o.code == SILENT for o in outcomes) else []
    missed += [f"left behind: {', '.join(left)}"] if left else []
    missed += [f"exit code {code}"] if code else []
    return Report("stop: SIGTERM with work in flight and one idle connection", [row], missed)


def _ask(address: str, request: object, streamed: bool) -> Outcome:
    with Caller(address, GONE_S) as caller:
        return caller.ask(request, streamed)


def _newcomers(bench: Bench) -> Sequence[Outcome]:
    """Requests that come while the server stops, twice a second on connections of their own."""
    seen = []
    sample = bench.kinds["clip_text"][0]
    while bench.address.process.poll() is None and len(seen) < 2 * GONE_S:
        with Caller(bench.address.grpc, 10.0) as caller:
            seen.append(sample.ask(caller))
        time.sleep(0.5)
    return seen


def _ended(process: subprocess.Popen[str]) -> int | str:
    try:
        return process.wait(GONE_S)
    except subprocess.TimeoutExpired:
        return f"none within {GONE_S:g} s"


def _folders(pid: int) -> list[Path]:
    """Temporary folders that the server's processes use: what their command lines name below the temporary folder."""
    import psutil

    here = Path(tempfile.gettempdir())
    words = [
        word for child in psutil.Process(pid).children() for word in server.command_line(child) if f"={here}/" in word
    ]
    paths = [Path(word.partition("=")[2]).relative_to(here).parts[0] for word in words]
    return [here / part for part in sorted(set(paths))]
