"""`tritone serve`: starts Triton with the project's models, says when it is ready, watches it, and stops it cleanly."""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import signal
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import psutil
import typer
from rich.console import Console

from tritone import checkpoints, repository, tritonserver
from tritone.checkpoints import MissingCheckpoint
from tritone.control import Control
from tritone.process import ServerProcess
from tritone.repository import CannotStart, Model
from tritone.tritonserver import Ports, Tritonserver
from tritone.watchdog import Patience, Watchdog

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)

REFUSED = 2  # exit code where the server was not started; 1 where it died
READY = "ready"  # how the line starts that says so
Device = Literal["auto", "cpu", "gpu"]


@app.callback()
def main() -> None:
    """Text, image and speech models on one Triton Inference Server."""


@app.command()
def serve(
    models: Annotated[
        str, typer.Option(help="Models to load, comma-separated, with all they need. [default: all]")
    ] = "",
    device: Annotated[Device, typer.Option(help="auto takes a GPU if one is visible.")] = "auto",
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 opens the server to the network.")
    ] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535)] = 8001,
    metrics_port: Annotated[int, typer.Option(min=1, max=65535)] = 8002,
    watchdog_metrics_port: Annotated[int, typer.Option(min=1, max=65535)] = 8003,
    model_repository: Annotated[
        list[Path] | None, typer.Option(help="May be repeated. [default: model_repository and ensembles]")
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Another checkpoint in one's place: whisper=whisper_multilingual. May be repeated."),
    ] = None,
    log_file: Annotated[Path | None, typer.Option(help="[default: .tritone/server.log]")] = None,
    stop_timeout: Annotated[int, typer.Option(min=0, help="Seconds for requests in flight when stopping.")] = 5,
    canary_interval: Annotated[float, typer.Option(help="Seconds between the watchdog's canaries.")] = 5.0,
    hung_after: Annotated[
        float, typer.Option(help="Seconds without answer after which a model counts as hung.")
    ] = 120.0,
) -> None:
    """Start the server and keep it running until Ctrl-C or SIGTERM."""
    stop = _stop_on_signals()
    root = _project_root()
    try:
        _replace_checkpoints(checkpoint or [])
        plan = _plan(
            names=[name.strip() for name in models.split(",") if name.strip()],
            repositories=[
                path.resolve() for path in model_repository or (root / "model_repository", root / "ensembles")
            ],
            config_name=_config_name(device),
            ports=Ports(host, http_port, grpc_port, metrics_port, watchdog_metrics_port),
            patience=Patience(canary_interval, hung_after),
            exit_timeout_s=stop_timeout,
        )
        _run(plan, (log_file or root / ".tritone" / "server.log").resolve(), stop)
    except CannotStart as error:
        err.print(f"tritone serve: {error}")
        raise typer.Exit(REFUSED) from None
    out.print("stopped")


def _replace_checkpoints(wishes: list[str]) -> None:
    """Tell the models' processes, through the environment, which checkpoints to load in others' places."""
    for wish in wishes:
        name, _, other = wish.partition("=")
        if not name or not other:
            raise CannotStart(f"--checkpoint is '{wish}', must be NAME=OTHER, such as whisper=whisper_multilingual")
        os.environ[checkpoints.variable_of(name)] = other


@dataclass(frozen=True)
class Plan:
    """What to start, after everything that can be known beforehand has been checked."""

    found: Tritonserver
    repositories: list[Path]
    models: list[Model]
    config_name: str | None  # "cpu", or None for the GPU configurations
    checkpoints: Path | None  # the folder; None if no model needs one
    ports: Ports
    patience: Patience
    exit_timeout_s: int


def _plan(
    names: list[str],
    repositories: list[Path],
    config_name: str | None,
    ports: Ports,
    patience: Patience,
    exit_timeout_s: int,
) -> Plan:
    """Find and check what the server needs; raises CannotStart."""
    found = tritonserver.find()
    tritonserver.check_numpy(found, importlib.metadata.version("numpy"))
    _check_ports(ports)
    models = repository.select(repository.read(repositories, config_name), names)
    return Plan(found, repositories, models, config_name, _checkpoints(models), ports, patience, exit_timeout_s)


def _run(plan: Plan, log: Path, stop: threading.Event) -> None:
    """Start the server, watch it until it is asked to stop, and stop it; raises CannotStart."""
    out.print(f"tritonserver from {plan.found.origin}; {'CPU' if plan.config_name else 'GPU'}; log: {log}")
    key, prefix = secrets.token_hex(32), f"tritone_{os.getpid()}_{secrets.token_hex(4)}_"
    with tempfile.TemporaryDirectory(prefix="tritone-") as folder:
        scratch = Path(folder)
        environment = tritonserver.environment(plan.found, scratch, plan.checkpoints)
        server = ServerProcess(_command(plan, scratch, key, prefix), environment, log, prefix, plan.exit_timeout_s)
        access = Control(f"{plan.ports.local_host}:{plan.ports.grpc}", key)
        try:
            if _wait_until_ready(server, access, plan, stop):
                _keep(server, access, plan, stop)
        finally:
            access.close()
            server.stop()


def _command(plan: Plan, scratch: Path, key: str, region_prefix: str) -> list[str]:
    return [
        *tritonserver.command(plan.found, scratch, plan.ports, key),
        *(f"--model-repository={folder}" for folder in plan.repositories),
        *(f"--load-model={model.name}" for model in plan.models),
        *([f"--model-config-name={plan.config_name}"] if plan.config_name else []),
        f"--exit-timeout-secs={plan.exit_timeout_s}",
        f"--backend-config=python,shm-region-prefix-name={region_prefix}",
    ]


def _keep(server: ServerProcess, access: Control, plan: Plan, stop: threading.Event) -> None:
    """Watch the ready server until it is asked to stop; exits with code 1 if it dies by itself."""

    def say(line: str) -> None:
        err.print(line)
        server.note(line)

    watchdog = Watchdog(psutil.Process(server.pid), access, plan.models, plan.patience, say)
    watchdog.start()
    close_metrics = watchdog.metrics.serve(plan.ports.host, plan.ports.watchdog)
    out.print(_addresses(plan.ports))
    try:
        while not stop.wait(0.2):
            if server.has_ended():
                say(f"tritone serve: tritonserver has died ({server.ending()}); the end of its log, {server.log}:")
                err.print(server.log_tail())
                raise typer.Exit(1)
        out.print("stopping ...")
    finally:
        watchdog.stop()
        close_metrics()


def _wait_until_ready(server: ServerProcess, access: Control, plan: Plan, stop: threading.Event) -> bool:
    """Show which models are still loading until the server is ready; False if it was asked to stop meanwhile.

    Raises: CannotStart: a model failed to load, or the server ended.
    """
    names = [model.name for model in plan.models]
    start, loaded = time.monotonic(), set[str]()
    with out.status("starting") as status:
        while not stop.wait(0.1):
            server.check_loading()
            for name in sorted(server.loaded() - loaded):
                loaded.add(name)
                if not out.is_terminal:
                    out.print(f"loaded {name} ({len(loaded)} of {len(names)}, {time.monotonic() - start:.1f} s)")
            missing = ", ".join(name for name in names if name not in loaded)
            status.update(f"loaded {len(loaded)} of {len(names)} models, {time.monotonic() - start:.0f} s: {missing}")
            # The server opens its ports only when every model has loaded, one after the other.
            if access.is_ready() and _listens(plan.ports):
                return True
    return False


def _listens(ports: Ports) -> bool:
    """Whether HTTP and metrics take connections, as gRPC does already."""
    for port in (ports.http, ports.metrics):
        try:
            socket.create_connection((ports.local_host.strip("[]"), port), timeout=2).close()
        except OSError:
            return False
    return True


def _addresses(ports: Ports) -> str:
    at = f"{ports.local_host}:"
    metrics = f"http://{at}{ports.metrics}/metrics"
    return f"{READY}: http://{at}{ports.http}  grpc {at}{ports.grpc}  metrics {metrics}  watchdog :{ports.watchdog}"


def _checkpoints(models: list[Model]) -> Path | None:
    """The folder of the checkpoints that the models load; raises CannotStart if one is missing."""
    for model in models:
        if model.checkpoint:
            try:
                checkpoints.path(model.checkpoint)
            except MissingCheckpoint as error:
                raise CannotStart(f"model '{model.name}': {error}") from error
    return checkpoints.root() if any(model.checkpoint for model in models) else None


def _check_ports(ports: Ports) -> None:
    """Refuse a port that is taken, or given twice."""
    given: dict[int, str] = {}
    for service in ("http", "grpc", "metrics", "watchdog"):
        port = getattr(ports, service)
        option = f"--{service.replace('watchdog', 'watchdog-metrics')}-port"
        if port in given:
            raise CannotStart(f"port {port} is given twice, for {given[port]} and {option}")
        given[port] = option
        family = socket.AF_INET6 if ":" in ports.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ports.host, port))
            except OSError as error:
                raise CannotStart(
                    f"port {port} on {ports.host} cannot be used ({error.strerror}): choose another by {option}"
                ) from error


def _config_name(device: Device) -> str | None:
    """The name of the models' configuration: "cpu", or None for the GPU's.

    Raises: CannotStart: a GPU was asked for where none is visible.
    """
    gpu = device != "cpu" and tritonserver.has_gpu()
    if device == "gpu" and not gpu:
        raise CannotStart("no NVIDIA GPU is visible: use --device cpu")
    return None if gpu else "cpu"


def _project_root() -> Path:
    """The folder that holds the model repositories: here, above, or where this package was checked out."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "model_repository").is_dir():
            return folder
    return here


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    return stop


if __name__ == "__main__":
    app()
