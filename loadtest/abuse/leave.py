"""Callers who leave before they are answered: what is computed for nobody, and for how long."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np

from abuse import files, server
from abuse.bench import Bench
from abuse.report import Report, counted
from abuse.requests import NotPrepared
from abuse.wire import Caller, message, read

LONG = 400  # tokens: an answer that is worth stopping
STORY = "Tell me a story."
# With these the tiny model repeats itself and does not stop; the first seeds were found by search, the rest are tried.
ENDLESS: dict[str, Any] = {"text_input": STORY, "temperature": 2.0, "repetition_penalty": 0.4, "max_tokens": 512}
SEEDS = (67, 40, *range(30))
LIMIT_S = 90.0
# As long as a picture's whole work may be: its steps, and no more than a few after its caller has left.
STEPS = 150


def measure(bench: Bench) -> Report:
    """One row a scenario."""
    report = Report("leave: callers who are gone before their answer")
    endless = _endless(bench)
    recording = files.repeated_speech(_speech(bench), 255)
    for name, model, act in _scenarios(bench, endless, recording):
        if not bench.wanted([model]):
            continue
        server.wait_until_idle(bench.address)
        bench.say(name)
        before = _counters(bench)
        codes = act()
        idle = server.wait_until_idle(bench.address, limit_s=LIMIT_S)
        time.sleep(0.6)  # pages of metrics are a little behind
        after = _counters(bench)
        report.rows.append(
            {
                "scenario": name,
                "idle after, s": idle,
                **{what: _grown(before[what], after[what]) for what in after},
                "answered before they left": codes,
            }
        )
    return report


def _scenarios(bench: Bench, endless: dict[str, Any], recording: bytes) -> list[tuple[str, str, Callable[[], str]]]:
    answer, stream = message("llava_answer", endless), message("llava", endless)
    wish = {"prompt": "a blue star", "num_inference_steps": STEPS, "seed": np.int64(1)}
    picture, hearing = message("text_to_image", wish), message("transcribe", {"audio_bytes": recording})
    body = {name: int(v) if isinstance(v, np.integer) else v for name, v in endless.items()}
    return [
        ("50 llava streams after their first token", "llava", lambda: _streams(bench, stream, 50)),
        ("1 llava_answer of 512 tokens after 0.3 s", "llava_answer", lambda: _unary(bench, answer, 1, 0.3)),
        (f"1 text_to_image of {STEPS} steps after 0.5 s", "text_to_image", lambda: _unary(bench, picture, 1, 0.5)),
        (f"12 text_to_image of {STEPS} steps after 2.5 s", "text_to_image", lambda: _unary(bench, picture, 12, 2.5)),
        ("90 llava_answer of 512 tokens after 1.5 s", "llava_answer", lambda: _unary(bench, answer, 90, 1.5)),
        ("4 transcribe of 255 s after 6 s", "transcribe", lambda: _unary(bench, hearing, 4, 6.0)),
        ("1 HTTP generate after 0.3 s", "llava_answer", lambda: _http(bench, "llava_answer/generate", body, 1, 0.3)),
        ("50 HTTP generate_stream after 0.5 s", "llava", lambda: _http(bench, "llava/generate_stream", body, 50, 0.5)),
    ]  # fmt: skip


def _counters(bench: Bench) -> dict[str, list[float]]:
    """What has been computed until now, as the server's own pages and the operating system say."""
    at = bench.address
    return {
        "tokens / cancelled / finished": [
            server.engine(at, f"{name}_total") for name in ("tokens", "cancelled", "finished")
        ],
        "runs of UNet / Whisper": [server.executions(at, model) for model in ("sd_unet", "whisper")],
        "CPU s of llava / UNet / Whisper": [
            server.processor_s(server.stubs(at, model)) for model in ("llava", "sd_unet", "whisper")
        ],
    }


def _grown(before: list[float], after: list[float]) -> str:
    return " / ".join(f"{new - old:,.4g}" for old, new in zip(before, after, strict=True))


def _endless(bench: Bench) -> dict[str, Any]:
    """Wishes whose answer is really long, alone.

    Raises: NotPrepared: there are none.
    """
    with Caller(bench.address.grpc) as caller:
        for seed in SEEDS:
            inputs = {**ENDLESS, "seed": np.int64(seed)}
            outcome = caller.ask(message("llava_answer", inputs))
            if outcome.ok and outcome.parts[0]["completion_tokens"][0, 0] >= LONG:
                return inputs
    raise NotPrepared(f"no seed makes llava_answer say {LONG} tokens")


def _speech(bench: Bench) -> bytes:
    """A spoken question."""
    with Caller(bench.address.grpc) as caller:
        outcome = caller.ask(bench.kinds["tts"][0].request)
    if not outcome.ok:
        raise NotPrepared(f"tts answers {outcome.code}")
    return bytes(outcome.parts[0]["audio_wav"][0, 0])


def _streams(bench: Bench, request: Any, count: int) -> str:
    """Start streams on a connection each, and leave each after its first response."""
    callers = [Caller(bench.address.grpc) for _ in range(count)]
    calls = [caller.begin(request) for caller in callers]
    codes = []
    for call in calls:
        try:
            next(call)
        except (StopIteration, grpc.RpcError) as error:
            codes.append(error.code().name if isinstance(error, grpc.RpcError) else "ended")
        call.cancel()
    for caller in callers:
        caller.close()
    return counted(codes)


def _unary(bench: Bench, request: Any, count: int, after_s: float) -> str:
    """Send the request so often, and cancel all of them after a while."""
    with Caller(bench.address.grpc) as caller:
        infer = caller.channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer", request_serializer=lambda one: one.SerializeToString()
        )
        calls = [infer.future(request, timeout=LIMIT_S) for _ in range(count)]
        time.sleep(after_s)
        codes = [_code(call) for call in calls if call.done()]
        for call in calls:
            call.cancel()
    return counted(codes)


def _code(call: Any) -> str:
    code = call.code().name
    if code == "OK" and "completion_tokens" in (outputs := read(call.result())):
        return f"OK with {outputs['completion_tokens'][0, 0]} tokens"
    return str(code)


def _http(bench: Bench, path: str, body: dict[str, Any], count: int, after_s: float) -> str:
    """Post the body on so many connections, and break them all off after a while."""
    connections: Sequence[http.client.HTTPConnection] = [
        http.client.HTTPConnection(bench.address.http, timeout=10) for _ in range(count)
    ]
    for connection in connections:
        connection.request("POST", f"/v2/models/{path}", json.dumps(body), {"Content-Type": "application/json"})
    time.sleep(after_s)
    for connection in connections:
        connection.close()
    return "not looked at"
