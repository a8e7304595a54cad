"""What can be known before the server is started: ports, a GPU, checkpoints, shared memory.

Refusals are one sentence each.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from tritone import checkpoints
from tritone.checkpoints import MissingCheckpoint
from tritone.server import repository, tritonserver
from tritone.server.process import SHARED_MEMORY
from tritone.server.repository import CannotStart, Model
from tritone.server.tritonserver import Ports

MIB = 2**20
# A stub's region begins with 1 MiB (the Python backend's shm-default-byte-size) and grows by as much.
REGION_BYTES = MIB
LEAST_BYTES = 2 * REGION_BYTES  # of a stub, so that it can grow once
USUAL_BYTES = 4 * MIB  # of a request whose size no parameter limits: text, a window of features, a clause of sound
SAMPLE_BYTES_A_SECOND = 16000 * 4  # mono FP32 at 16 kHz, as the models pass sound on


def check_ports(ports: Ports) -> None:
    """Refuse a port that is taken, or given twice; raises CannotStart."""
    given: dict[int, str] = {}
    for service in ("http", "grpc", "metrics", "watchdog"):
        port, host = getattr(ports, service), ports.host if service in ("http", "grpc") else ports.metrics_host
        option = f"--{service.replace('watchdog', 'watchdog-metrics')}-port"
        if port in given:
            raise CannotStart(f"port {port} is given twice, for {given[port]} and {option}")
        given[port] = option
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise CannotStart(
                    f"port {port} on {host} cannot be used ({error.strerror}): choose another by {option}"
                ) from error


def check_gpu(models: Sequence[Model], device: str) -> None:
    """Refuse models whose configuration is a GPU's where there is none, or `device` is "cpu"; raises CannotStart."""
    wanting = [model.name for model in models if model.on_gpu]
    if wanting and (device == "cpu" or not tritonserver.has_gpu()):
        why = "--device is cpu" if device == "cpu" else "no NVIDIA GPU is visible"
        raise CannotStart(
            f"{why}, and the configuration of {', '.join(wanting)} is for a GPU: leave out --config-name, or name one "
            "that is for a CPU"
        )


def checkpoint_folder(models: Sequence[Model]) -> Path | None:
    """The folder of the checkpoints that the models load; raises CannotStart if one is missing."""
    for model in models:
        if model.checkpoint:
            try:
                checkpoints.path(model.checkpoint)
            except MissingCheckpoint as error:
                raise CannotStart(f"model '{model.name}': {error}") from error
    return checkpoints.root() if any(model.checkpoint for model in models) else None


def check_shared_memory(models: Sequence[Model], free: int | None = None, gpus: int = 1) -> str:
    """Compare the free shared memory with what the models may take; returns a warning, or "" where there is plenty.

    A model's region grows to the largest request that it has seen and never shrinks. On several GPUs a model has a
    process, and a region, for each.
    Raises: CannotStart: the models would not even start.
    """
    free = _free() if free is None else free
    least = LEAST_BYTES * sum(model.stubs(gpus) for model in models)
    most = sum(model.stubs(gpus) * (REGION_BYTES + largest_request(model, models)) for model in models)
    has = f"{SHARED_MEMORY} has {free // MIB} MiB free"
    larger = "give it more, such as docker run --shm-size 4g, or start fewer with --models"
    if free < least:
        raise CannotStart(f"{has}, and {len(models)} models need {least // MIB} MiB to start: {larger}")
    if free < most:
        return f"{has}; with their largest requests all at once these models need {most // MIB} MiB: {larger}"
    return ""


def largest_request(model: Model, models: Sequence[Model]) -> int:
    """An estimate, in bytes, of the largest request and its answer, or of the largest that the model passes on."""
    outputs = {tensor.name for tensor in model.config.output}
    pictures, side = max(1, model.number("max_pictures")), model.number("max_side")
    own = _as_base64(model.number("max_bytes") + model.number("max_image_bytes") * pictures)
    own += 3 * model.number("max_pixels") * ("image" in outputs)
    own += SAMPLE_BYTES_A_SECOND * model.number("max_seconds")
    own += 3 * side * side * max(1, model.number("max_images"))
    named = {each.name: each for each in models}
    below = repository.below(model.name, named)
    return max(USUAL_BYTES, own, *(largest_request(named[name], models) for name in below if name in named))


def _as_base64(size: int) -> int:
    """The letters of a file that comes as text: a third more than its bytes."""
    return -(-size // 3) * 4


def _free() -> int:
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError as error:
        raise CannotStart(f"there is no {SHARED_MEMORY} ({error.strerror}); models need it") from error
    return status.f_bavail * status.f_frsize
