"""`tritone serve`: starts Triton with the project's models, says when it is ready, watches it, and stops it cleanly."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import psutil
import typer
from rich.console import Console

from tritone import checkpoints, pulse
from tritone.server import gpu_memory, leftovers, repository, server_log, start_checks, tritonserver
from tritone.server.announcer import Announcer
from tritone.server.control import Control
from tritone.server.process import ServerProcess
from tritone.server.repository import CannotStart, Model
from tritone.server.secret import hide_argument
from tritone.server.server_log import ServerLog
from tritone.server.signals import Signals
from tritone.server.tritonserver import Ports, Tritonserver
from tritone.server.watching import endpoints
from tritone.server.watching.drain import Work, drain
from tritone.server.watching.policy import Policy, Stopping
from tritone.server.watching.readiness import Readiness
from tritone.server.watching.watchdog import Metrics, Watchdog

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
out = Console(highlight=False, markup=False, soft_wrap=True)
err = Console(highlight=False, markup=False, soft_wrap=True, stderr=True)

REFUSED = 2  # exit code where the server was not started; 1 where it died
READY = "ready"  # how the line starts that says so
# Of each stub, in Triton's process. A call of another model holds one until its answer is there, and at most 64 calls
# wait at a time (bls.CALLING_THREADS); the other 32 are for sending answers, or a refusal would wait for them.
BACKEND_THREADS = 96
Device = Literal["auto", "cpu", "gpu"]
_PORTS, _WATCHDOG, _STOPPING = "Where it listens", "When models are replaced", "How it stops"


def _port(default: int, text: str) -> int:
    return typer.Option(default, min=1, max=65535, help=text, rich_help_panel=_PORTS)  # type: ignore[no-any-return]


def _number(default: float, text: str, panel: str) -> float:
    return typer.Option(default, min=0, help=text, rich_help_panel=panel)  # type: ignore[no-any-return]


@app.callback()
def main() -> None:
    """Text, image and speech models on one Triton Inference Server."""


@app.command()
def serve(
    models: Annotated[
        str, typer.Option(help="Models to load, comma-separated, with all they need, and catalog.", show_default="all")
    ] = "",
    device: Annotated[Device, typer.Option(help="auto takes a GPU if one is visible.")] = "auto",
    config_name: Annotated[
        str,
        typer.Option(
            help="Of the models' configurations: l4 takes configs/l4.pbtxt where there is one.",
            show_default="cpu on a CPU",
        ),
    ] = "",
    model_repository: Annotated[
        list[Path] | None, typer.Option(help="May be repeated.", show_default="model_repository and ensembles")
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Another checkpoint in one's place: whisper=whisper_multilingual. May be repeated."),
    ] = None,
    log_file: Annotated[
        Path | None, typer.Option(help="- for this process's output.", show_default=".tritone/server.log")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Of HTTP and gRPC; 0.0.0.0 opens them to the network.", rich_help_panel=_PORTS)
    ] = "127.0.0.1",
    metrics_host: Annotated[
        str, typer.Option(help="Of both metrics ports, with /live and /ready.", rich_help_panel=_PORTS)
    ] = "127.0.0.1",
    http_port: int = _port(8000, ""),
    grpc_port: int = _port(8001, ""),
    metrics_port: int = _port(8002, "Triton's own metrics."),
    watchdog_metrics_port: int = _port(8003, "/metrics, /live and /ready of tritone serve."),
    canary_interval: float = _number(5.0, "Seconds between signs of life.", _WATCHDOG),
    deep_canary_interval: float = _number(
        60.0, "Seconds without success after which a model must compute a row; 0: never.", _WATCHDOG
    ),
    hung_after: float = _number(120.0, "Seconds with work and without progress.", _WATCHDOG),
    load_timeout: float = _number(600.0, "Seconds that one model may take to load.", _WATCHDOG),
    max_restarts: int = typer.Option(
        5, min=0, help="Of one model within 10 minutes; then exit code 1.", rich_help_panel=_WATCHDOG
    ),
    ready_grace: float = _number(30.0, "Seconds that a model may be down before /ready says so.", _WATCHDOG),
    not_ready_seconds: float = _number(0.0, "Seconds to go on serving after /ready has said no.", _STOPPING),
    drain_seconds: float = _number(30.0, "At most, for requests in flight; a second signal ends it.", _STOPPING),
    stop_timeout: int = typer.Option(
        2, min=0, help="Seconds for tritonserver itself after that.", rich_help_panel=_STOPPING
    ),
) -> None:
    """Start the server and keep it running until Ctrl-C or SIGTERM."""
    signals = Signals()
    signals.listen()
    root = _project_root()
    repositories = [path.resolve() for path in model_repository or (root / "model_repository", root / "ensembles")]
    try:
        _replace_checkpoints(checkpoint or [])
        plan = _plan(
            names=[name.strip() for name in models.split(",") if name.strip()],
            repositories=repositories,
            config_name=_config_name(device, _variant(config_name, repositories)),
            device=device,
            ports=Ports(host, http_port, grpc_port, metrics_port, watchdog_metrics_port, metrics_host),
            policy=Policy(canary_interval, deep_canary_interval, hung_after, load_timeout, max_restarts),
            stopping=Stopping(not_ready_seconds, drain_seconds, stop_timeout),
            ready_grace_s=ready_grace,
        )
        with contextlib.closing(_log(log_file, root, http_port)) as log:
            code = _run(plan, log, signals)
    except CannotStart as error:
        err.print(f"tritone serve: {error}")
        raise typer.Exit(REFUSED) from None
    raise typer.Exit(code)


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
    config_name: str | None  # "cpu", another variant, or None for the GPU configurations
    checkpoints: Path | None  # the folder; None if no model needs one
    ports: Ports
    policy: Policy
    stopping: Stopping
    ready_grace_s: float
    warnings: list[str]  # for the person who starts it


def _plan(
    names: list[str],
    repositories: list[Path],
    config_name: str | None,
    device: Device,
    ports: Ports,
    policy: Policy,
    stopping: Stopping,
    ready_grace_s: float,
) -> Plan:
    """Find and check what the server needs; raises CannotStart."""
    found = tritonserver.find()
    tritonserver.check_numpy(found, importlib.metadata.version("numpy"))
    start_checks.check_ports(ports)
    models = repository.select(repository.read(repositories, config_name), names)
    if config_name:  # without one a GPU has been seen, and asking the driver takes seconds on some machines
        start_checks.check_gpu(models, device)
    folder = start_checks.checkpoint_folder(models)
    leftovers.remove()  # what dead runs hold of the shared memory is free now
    gpus = gpu_memory.free_memory() if any(model.on_gpu for model in models) else {}
    warnings = [
        start_checks.check_shared_memory(models, gpus=len(gpus)),
        gpu_memory.check(models, gpus),
        tritonserver.exposure_warning(ports, found.version) or "",
    ]
    told = [warning for warning in warnings if warning]
    return Plan(found, repositories, models, config_name, folder, ports, policy, stopping, ready_grace_s, told)


def _log(wish: Path | None, root: Path, port: int) -> ServerLog:
    """Where tritonserver's lines go; raises CannotStart."""
    if wish == Path("-"):
        return server_log.to_stdout()
    return server_log.to_file(wish.resolve()) if wish else server_log.default(root / ".tritone", port)


@dataclass(frozen=True)
class Run:
    """A server that was started, and everything that belongs to it."""

    plan: Plan
    server: ServerProcess
    key: str  # of the closed APIs
    access: Control
    pulses: Path  # the folder of the stubs' pulse files
    readiness: Readiness
    metrics: Metrics
    signals: Signals
    announcer: Announcer

    def say(self, line: str) -> None:
        """Tell people, here and in the log; never waits for them."""
        self.announcer.say(line, err.print, self.server.log.note)

    def show(self, line: str) -> None:
        """Show a line to whoever started the server."""
        self.announcer.say(line, out.print)


def _run(plan: Plan, log: ServerLog, signals: Signals) -> int:
    """Start the server, watch it until it is asked to stop, and stop it; returns the exit code.

    Raises: CannotStart: before anybody could have used it.
    """
    out.print(f"tritonserver from {plan.found.origin}; {(plan.config_name or 'gpu').upper()}; log: {log.name}")
    for warning in plan.warnings:
        err.print(f"tritone serve: warning: {warning.removeprefix('WARNING: ')}")
    readiness, metrics = Readiness([model.name for model in plan.models], plan.ready_grace_s), Metrics()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(leftovers.scratch_folder())
        prefix = stack.enter_context(leftovers.region_prefix(secrets.token_hex(4)))
        # First of all: whoever asks meanwhile is told to wait, and Triton's ports never answer before these.
        stack.callback(endpoints.serve(plan.ports.metrics_host, plan.ports.watchdog, metrics.registry, readiness))
        announcer = Announcer()
        stack.callback(announcer.close)
        pulses, key = scratch / "pulses", secrets.token_hex(32)
        pulses.mkdir()
        pulse.tell_ensembles(pulses, {each.name: each.children for each in plan.models if not each.is_python})
        # What a stub puts into a temporary folder and is killed before it removes goes with the run's own.
        environment = _environment(plan, scratch) | {pulse.FOLDER: str(pulses), "TMPDIR": str(scratch)}
        command = _command(plan, scratch, key, prefix)
        server = ServerProcess(command, environment, log, prefix, plan.stopping.exit_timeout_s)
        stack.callback(lambda: server.stop(at_once=signals.again()))
        access = Control(f"{plan.ports.local_host}:{plan.ports.grpc}", key)
        stack.callback(access.close)
        run = Run(plan, server, key, access, pulses, readiness, metrics, signals, announcer)
        code = _keep(run) if _wait_until_ready(run) else 0
    if code == 0:
        out.print("stopped")
    return code


def _environment(plan: Plan, scratch: Path) -> dict[str, str]:
    try:
        return tritonserver.environment(plan.found, scratch, plan.checkpoints)
    except OSError as error:
        raise CannotStart(f"{scratch} cannot be written ({error}): name another folder in $TMPDIR") from error


def _command(plan: Plan, scratch: Path, key: str, region_prefix: str) -> list[str]:
    return [
        *tritonserver.command(plan.found, scratch, plan.ports, key),
        *(f"--model-repository={folder}" for folder in plan.repositories),
        *(f"--load-model={model.name}" for model in plan.models),
        *([f"--model-config-name={plan.config_name}"] if plan.config_name else []),
        f"--exit-timeout-secs={plan.stopping.exit_timeout_s}",
        f"--backend-config=python,shm-region-prefix-name={region_prefix}",
        f"--backend-config=python,thread-pool-size={BACKEND_THREADS}",
    ]


def _keep(run: Run) -> int:
    """Watch the ready server until it is asked to stop or cannot go on; returns the exit code, 1 where it cannot."""
    watchdog = Watchdog(
        psutil.Process(run.server.pid),
        run.access,
        run.plan.models,
        run.plan.policy,
        run.say,
        pulses=run.pulses,
        token=pulse.token(run.pulses),
        readiness=run.readiness,
        metrics=run.metrics,
    )
    watchdog.start()
    run.readiness.serving()
    run.show(_addresses(run.plan.ports))
    try:
        while not run.signals.wait(0.2) and not watchdog.fatal and not run.server.has_ended():
            pass
        run.readiness.stopping()
        if watchdog.fatal:
            run.say(f"tritone serve: {watchdog.fatal}; giving up, so that the whole server can be started anew")
        if not run.server.has_ended():
            _drain(run, watchdog)
    finally:
        watchdog.stop()
    if run.server.has_ended() and not run.signals.asked():
        ending, log = run.server.ending(), run.server.log
        run.say(f"tritone serve: tritonserver has died ({ending}); the end of its log, {log.name}:")
        run.announcer.say(log.tail(), err.print)
        return 1
    return 1 if watchdog.fatal else 0


def _drain(run: Run, watchdog: Watchdog) -> None:
    """Let the requests in flight finish while new ones are refused."""
    models = {model.name: model for model in run.plan.models}
    metrics = f"http://{tritonserver.local(run.plan.ports.metrics_host)}:{run.plan.ports.metrics}/metrics"
    run.show("stopping ...")
    work = Work(run.pulses, metrics, models, watchdog.unasked())
    drain(work, (run.pulses / pulse.DRAINING).touch, run.signals, run.plan.stopping, run.show)


def _wait_until_ready(run: Run) -> bool:
    """Show which models are still loading until the server is ready; False if it was asked to stop meanwhile.

    Raises: CannotStart: a model failed to load or took too long, or the server ended.
    """
    names, limit = [model.name for model in run.plan.models], run.plan.policy.load_timeout_s
    start = latest = time.monotonic()
    loaded = set[str]()
    hidden = False
    with out.status("starting") as status:
        while not run.signals.wait(0.1):
            run.server.check_loading()
            # Once it prints, it has read its arguments.
            if not hidden and run.server.log.tail():
                hidden = _hide_key(run)
            now = time.monotonic()
            for name in sorted(run.server.log.loaded() - loaded):
                loaded.add(name)
                latest = now
                if not out.is_terminal:
                    out.print(f"loaded {name} ({len(loaded)} of {len(names)}, {now - start:.1f} s)")
            run.readiness.loaded(loaded)
            missing = ", ".join(name for name in names if name not in loaded)
            status.update(f"loaded {len(loaded)} of {len(names)} models, {now - start:.0f} s: {missing}")
            # The server opens its ports only when every model has loaded, one after the other.
            if run.access.is_ready() and _listens(run.plan.ports):
                return True
            if missing and now - latest > limit:
                raise CannotStart(f"none of the models {missing} has loaded within {limit:g} s, see --load-timeout")
    return False


def _hide_key(run: Run) -> bool:
    """Take the key of the closed APIs out of the server's command line, and say so where that cannot be done."""
    if not hide_argument(run.server.pid, run.key):
        run.say("tritone serve: the key of the closed APIs stays to be seen in the process list (SECURITY.md)")
    return True


def _listens(ports: Ports) -> bool:
    """Whether HTTP and metrics take connections, as gRPC does already."""
    for host, port in ((ports.host, ports.http), (ports.metrics_host, ports.metrics)):
        try:
            socket.create_connection((tritonserver.local(host).strip("[]"), port), timeout=2).close()
        except OSError:
            return False
    return True


def _addresses(ports: Ports) -> str:
    at, seen = ports.local_host, tritonserver.local(ports.metrics_host)
    metrics, watchdog = f"http://{seen}:{ports.metrics}/metrics", f"{seen}:{ports.watchdog}"
    return f"{READY}: http://{at}:{ports.http}  grpc {at}:{ports.grpc}  metrics {metrics}  watchdog {watchdog}"


def _variant(name: str, repositories: list[Path]) -> str:
    """The configuration that was asked for by name; raises CannotStart where no model has one, which is a slip."""
    if name and not any(file for folder in repositories for file in folder.glob(f"*/configs/{name}.pbtxt")):
        raise CannotStart(f"--config-name is '{name}', but no model has a configs/{name}.pbtxt")
    return name


def _config_name(device: Device, wish: str = "") -> str | None:
    """The name of the models' configuration: the one asked for, "cpu", or None for the GPU's.

    Raises: CannotStart: a GPU was asked for where none is visible.
    """
    gpu = device != "cpu" and tritonserver.has_gpu()
    if device == "gpu" and not gpu:
        raise CannotStart("no NVIDIA GPU is visible: use --device cpu")
    return wish or (None if gpu else "cpu")


def _project_root() -> Path:
    """The folder that holds the model repositories: here, above, or where this package was checked out."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / "model_repository").is_dir():
            return folder
    return here
