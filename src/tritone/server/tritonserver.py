"""Finds a tritonserver on this machine and prepares what it needs: backend directory, environment, command line.

Three places, in this order: `$TRITONSERVER`, NVIDIA's container (or any tritonserver on PATH), and the wheel
`nvidia-pytriton`, whose real server 2.51 (24.10) we use without its Python API. It starts no process.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import ipaddress
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from tritone import imports, pulse
from tritone.server.repository import CannotStart

CONTAINER = Path("/opt/tritonserver/bin/tritonserver")
WHEEL = "nvidia-pytriton"
WHEEL_SERVER = (2, 51)  # nvidia-pytriton 0.7.0
WITHOUT_HOLES = (2, 71)  # 26.07: the last published hole so far is mended there (SECURITY.md)
NUMPY_2 = (2, 52)  # first server whose stub can read arrays of numpy 2 (release notes 24.11)
BOUNDED = (2, 59)  # first server that bounds an HTTP body (release notes 25.06), by default at 64 MiB
MOST_BODY = 384 * 2**20  # bytes: eight pictures of 32 MiB in base64, the largest request that our models take
# Closed to clients: who may register shared memory can read other callers' data, who may load models runs code.
CLOSED_APIS = "shared-memory,model-repository,trace,logging"
KEY_HEADER = "tritone-key"
# Headers that Triton's front ends hand on as request parameters. Every request over gRPC or HTTP has its one, but those
# of HTTP's generate extension, for which Triton hands on none: so a model knows what will be written as JSON.
HTTP_MARK, GRPC_MARK = "host", "user-agent"
MOST_THREADS = 8  # per stub; beyond, threads of a dozen stubs only disturb each other
# A compute thread that waits looks so often for new work, some 15 µs, and then sleeps. Without looking, every operation
# wakes an idle processor, and a lone user waits longer (transcribe: 245 ms, with it 209); OpenMP's own 300,000 takes
# the processors from the other models' stubs.
SPIN_COUNT = "1000"
MEBIBYTE = 2**20

# Stubs of server 2.51 start an isolated Python on 3.11 and later (pybind11 2.10): no PYTHONPATH, no PYTHONUTF8, and
# ASCII as the encoding of files and streams. This line, run as that Python starts, gives them UTF-8.
UTF8 = (
    'import locale, sys; locale.setlocale(locale.LC_CTYPE, "C.UTF-8"); '
    '[stream.reconfigure(encoding="utf-8") for stream in (sys.stdout, sys.stderr) if stream]'
)


@dataclass(frozen=True)
class Tritonserver:
    """A tritonserver that was found."""

    binary: Path
    origin: str  # for people: where it comes from
    wheel: Path | None = None  # .../pytriton/tritonserver
    version: tuple[int, int] | None = None


@dataclass(frozen=True)
class Ports:
    """Where the server listens: HTTP and gRPC on `host`, Triton's metrics and the watchdog's on `metrics_host`."""

    host: str
    http: int
    grpc: int
    metrics: int
    watchdog: int
    metrics_host: str = "127.0.0.1"

    @property
    def local_host(self) -> str:
        """The address under which this machine reaches the server."""
        return local(self.host)


def local(host: str) -> str:
    """The address under which this machine reaches what listens on a host."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104  # compared, not bound


def exposure_warning(ports: Ports, version: tuple[int, int] | None) -> str | None:
    """What to tell, loudly, who opens an old server to others; None where callers are local or the server is not old.

    A server whose version nobody knows gets a warning too.
    """
    if _is_loopback(ports.host) or (version is not None and version >= WITHOUT_HOLES):
        return None
    named = f"tritonserver {version[0]}.{version[1]}" if version else "a tritonserver of unknown version"
    return (
        f"WARNING: {named} listens on {ports.host}, where others reach it. Versions before "
        f"{WITHOUT_HOLES[0]}.{WITHOUT_HOLES[1]} (26.07) have published holes by which a caller may run code here or "
        "stop the server: CVE-2025-23310, CVE-2025-23316, CVE-2026-24207, CVE-2026-47627 and more (SECURITY.md). "
        "Use a newer image, or --host 127.0.0.1"
    )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name counts as reachable unless it is localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def find() -> Tritonserver:
    """The server to use.

    Raises: CannotStart: there is none, or `$TRITONSERVER` is no program.
    """
    named = os.environ.get("TRITONSERVER")
    if named and shutil.which(named) is None:
        raise CannotStart(f"$TRITONSERVER is {named}, which is no program that can be run")
    wheel = _wheel()
    if named:
        binary = Path(str(shutil.which(named))).resolve()
        if wheel is None or wheel.wheel not in binary.parents:
            return Tritonserver(binary, "$TRITONSERVER", version=_version(binary))
    elif installed := (str(CONTAINER) if CONTAINER.is_file() else shutil.which("tritonserver")):
        return Tritonserver(Path(installed), "this container or machine", version=_version(Path(installed)))
    if wheel is None:
        raise CannotStart(
            "no tritonserver was found: set $TRITONSERVER, run in NVIDIA's container, or pip install 'tritone[server]'"
        )
    return wheel


def _wheel() -> Tritonserver | None:
    spec = importlib.util.find_spec("pytriton")
    folders = list(spec.submodule_search_locations or []) if spec else []
    home = Path(folders[0]).resolve() / "tritonserver" if folders else Path()
    binary = home / "bin" / "tritonserver"
    if not binary.is_file():
        return None
    return Tritonserver(binary, f"the wheel {WHEEL} {importlib.metadata.version(WHEEL)}", home, WHEEL_SERVER)


def _version(binary: Path) -> tuple[int, int] | None:
    """The version that NVIDIA's images note beside the binary; None if there is no such note."""
    note = binary.parent.parent / "TRITON_VERSION"
    if not note.is_file():
        return None
    major, minor = note.read_text(encoding="utf-8").strip().split(".")[:2]
    return int(major), int(minor)


def check_numpy(server: Tritonserver, numpy_version: str) -> None:
    """Refuse numpy 2 beside a stub that cannot read its arrays: tensors would arrive empty or wrong, silently.

    Raises: CannotStart: naming both versions.
    """
    if server.version and server.version < NUMPY_2 and int(numpy_version.split(".")[0]) >= 2:
        raise CannotStart(
            f"numpy {numpy_version} is installed, but tritonserver {server.version[0]}.{server.version[1]} "
            "reads its arrays wrongly: pip install 'numpy<2'"
        )


def has_gpu() -> bool:
    """Whether an NVIDIA GPU is visible to this process, found without importing torch.

    CUDA_VISIBLE_DEVICES may hold indices, UUIDs of cards or of slices; CUDA reads it up to the first that is none.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "all").split(",")[0].strip()
    if first in ("", "-1", "none", "NoDevFiles"):
        return False
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return any(Path("/dev").glob("nvidia[0-9]*"))
    try:
        listing = subprocess.run([smi, "-L"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listing.returncode == 0 and "GPU " in listing.stdout


def command(server: Tritonserver, scratch: Path, ports: Ports, key: str) -> list[str]:
    """The command line up to the models: where to listen, what to close, where the backends are.

    `scratch` is what `environment` prepares.
    """
    closed = f"{CLOSED_APIS}:{KEY_HEADER}={key}"
    wheel = [f"--backend-directory={scratch / 'backends'}", f"--cache-directory={server.wheel}/caches"]
    bounded = server.version is not None and server.version >= BOUNDED
    return [
        str(server.binary),
        *(wheel if server.wheel else []),
        "--model-control-mode=explicit",
        # Our configurations are complete; completing them would import every model.py twice.
        "--disable-auto-complete-config",
        f"--http-address={ports.host}",
        f"--grpc-address={ports.host}",
        f"--metrics-address={ports.metrics_host}",
        f"--http-header-forward-pattern=(?i)^{HTTP_MARK}$",
        f"--grpc-header-forward-pattern=^{GRPC_MARK}$",
        f"--http-port={ports.http}",
        *([f"--http-max-input-size={MOST_BODY}"] if bounded else []),
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        f"--http-restricted-api={closed}",
        f"--grpc-restricted-protocol={closed}",
    ]


def environment(server: Tritonserver, scratch: Path, checkpoints: Path | None) -> dict[str, str]:
    """The environment of the server and its stubs; what the user has set of the tuning variables stays.

    For the wheel's server it also fills `scratch` with a backend directory and a Python for the stubs.
    Raises: CannotStart: the wheel has no stub for this Python, or this Python has no shared library.
    """
    tuning = {
        **imports.SERVING,
        "OMP_NUM_THREADS": str(_threads()),
        # NumPy's own: its products are small, and processes share the processors already.
        "OPENBLAS_NUM_THREADS": "1",
        # Memory of a picture or of a pass is kept for the next one: getting its pages takes longer than filling them.
        # With 4 MiB a clause of `tts`, whose layers have 8, takes 1.4 times as long. Threads share arenas, and what is
        # free at an arena's end goes back, or a hostile hour would leave a gigabyte there.
        "MALLOC_MMAP_THRESHOLD_": str(32 * MEBIBYTE),  # the most that glibc takes
        "MALLOC_TRIM_THRESHOLD_": str(32 * MEBIBYTE),
        "MALLOC_ARENA_MAX": "4",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": SPIN_COUNT,
        "TOKENIZERS_PARALLELISM": "false",
        # cuDNN plans its attention anew for each length of keys, and an answer's grows by one a token: on an H200 a
        # step of a 7B LLaVA takes 56 ms with it and 20 ms without (docs/gpu.md).
        "TORCH_CUDNN_SDPA_DEPRIORITIZED": "1",
    }
    if not os.access(Path.home(), os.W_OK):  # as NVIDIA's image has it for its user, and any read-only root
        # numba, below librosa, keeps what it compiles beside the package or at home, and fails where it can do neither.
        tuning["NUMBA_CACHE_DIR"] = str(scratch / "numba")
    env = {**tuning, **os.environ}
    env |= {"PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1", pulse.MARKS: f"{HTTP_MARK},{GRPC_MARK}"}
    if checkpoints:
        env["TRITONE_CHECKPOINTS"] = str(checkpoints)  # absolute, as stubs run elsewhere
    if server.wheel is None:
        return env | {"PYTHONPATH": os.pathsep.join(_import_path())}
    _prepare_backend(server.wheel, scratch / "backends" / "python")
    libraries = [str(server.wheel.parents[1] / "nvidia_pytriton.libs"), _libpython_folder()]
    env["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [*libraries, os.environ.get("LD_LIBRARY_PATH")]))
    env["PATH"] = f"{_prepare_python(scratch / 'python')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return env


def _threads() -> int:
    """Compute threads for each stub: the CPUs that this process may use, at most MOST_THREADS."""
    return max(1, min(len(os.sched_getaffinity(0)), MOST_THREADS))


def _prepare_backend(wheel: Path, folder: Path) -> None:
    """Lay the wheel's Python backend out as tritonserver wants it, with the stub of this Python, executable."""
    stub = (
        wheel / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}" / "triton_python_backend_stub"
    )
    if not stub.is_file():
        raise CannotStart(f"the wheel {WHEEL} has no stub for Python {sys.version_info[0]}.{sys.version_info[1]}")
    folder.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        (folder / name).symlink_to(wheel / "backends" / "python" / name)
    shutil.copyfile(stub, folder / stub.name)  # installers drop the executable bit
    (folder / stub.name).chmod(0o755)


def _libpython_folder() -> str:
    """The folder of libpython3.X.so, which the stub is linked to."""
    library = str(sysconfig.get_config_var("INSTSONAME"))
    home = Path(str(sysconfig.get_config_var("LIBDIR")))
    folders = [home, home / str(sysconfig.get_config_var("MULTIARCH")), Path(sys.base_prefix) / "lib"]
    for folder in folders:
        if ".so" in library and (folder / library).is_file():
            return str(folder)
    raise CannotStart(
        f"Python {sys.version_info[0]}.{sys.version_info[1]} at {sys.base_prefix} has no shared library, "
        "which the server's stub needs: use one built with --enable-shared (Debian: apt install libpython3-dev)"
    )


def _prepare_python(folder: Path) -> Path:
    """A virtual environment that sees what this process sees, and in UTF-8; returns the folder of its `python3`.

    The stub takes its Python from the first `python3` on PATH.
    """
    venv.EnvBuilder(symlinks=True).create(folder)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    sites = {*site.getsitepackages(), site.getusersitepackages()}
    lines = [f"import site; site.addsitedir({path!r})" if path in sites else path for path in _import_path()]
    (packages / "tritone.pth").write_text("\n".join([UTF8, *lines, ""]), encoding="utf-8")
    return folder / "bin"


def _import_path() -> list[str]:
    """The folders this process imports from, but for the standard library and the place it was started from."""
    started_from = 0 if sys.flags.safe_path else 1
    library = Path(sysconfig.get_path("stdlib")).resolve()
    own = {library, library / "lib-dynload"}
    return [path for path in sys.path[started_from:] if os.path.isdir(path) and Path(path).resolve() not in own]
