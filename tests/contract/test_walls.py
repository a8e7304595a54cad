"""Who may import whom."""

import ast
import symtable
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from contract.repositories import ROOT

import tritone_client

HEAVY = {"torch", "transformers", "diffusers", "TTS", "librosa"}


def imported(path: Path, top_level_only: bool = False) -> set[str]:
    """What a file imports, dotted: modules, and the names that are taken out of them; relative imports apart."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    taken = [node for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return names | {f"{node.module}.{alias.name}" for node in taken for alias in node.names}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """The first names of all modules that a file imports."""
    return {name.split(".")[0] for name in imported(path, top_level_only)}


def module_of(path: Path, source: Path) -> str:
    """The dotted name of a file below a folder of packages; a package's own is that of its folder."""
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


def files(pattern: str) -> list[Path]:
    found = sorted(ROOT.glob(pattern))
    assert found, f"no file is {pattern}"
    return found


@pytest.mark.parametrize(
    ("pattern", "forbidden"),
    [
        ("src/tritone/**/*.py", {"tritone_client"}),
        ("model_repository/*/1/model.py", {"tritone_client"}),
        ("client/src/**/*.py", {"tritone", "torch", "tritone_gateway"}),
        ("gateway/src/**/*.py", {"tritone", "torch", "tritonclient", "grpc"}),
    ],
)
def test_client_and_server_do_not_import_each_other(pattern, forbidden):
    assert [str(path) for path in files(pattern) if imports(path) & forbidden] == []


def test_only_serving_and_its_parts_and_the_models_know_pb_utils():
    knowing = [path for path in files("src/tritone/**/*.py") if "triton_python_backend_utils" in imports(path)]
    assert {path.parent.name for path in knowing} == {"serving"}
    assert [path.stem for path in knowing] == ["answers", "bls", "entrance", "metrics", "model", "request", "tensors"]


def test_only_the_transports_know_tritonclient():
    knowing = {
        path.parent.name
        for path in files("client/src/**/*.py")
        if imports(path) & {"tritonclient", "grpc", "httpx", "tenacity"}
    }
    assert knowing == {"transports"}


def test_the_command_line_stands_on_the_clients_public_face():
    """And on no other part of it, so that whatever a verb does a user's program can do."""
    names = {name for path in files("client/src/tritone_client/cli/*.py") for name in imported(path)}
    taken = {name.removeprefix("tritone_client.") for name in names if name.startswith("tritone_client.")}
    assert "Client" in taken
    assert {name for name in taken if name.split(".")[0] != "cli"} <= set(tritone_client.__all__)


# Which rooms of the server each may know besides itself. No modality knows another, and none knows Triton.
BASE = {
    *("errors", "imports", "checkpoints", "device", "precision", "transfers", "cuda_graphs", "torch_threads"),
    *("priority", "pulse", "unmoved", "punctuation"),
}
MODALITIES = {"speech", "vision", "language", "drawing"}
BELOW = {
    **{module: set[str]() for module in BASE},
    "media": BASE,
    **{modality: BASE | {"media"} for modality in MODALITIES},
    "overlap": BASE,
    "assistant": BASE | {"media", "overlap"} | MODALITIES,
    "serving": BASE,
    "server": BASE,
}
PACKAGES = ("src/tritone", "client/src/tritone_client", "gateway/src/tritone_gateway")
MOST_FILES = 15  # in a room: what a newcomer sees at once


def modules_of(path: Path) -> set[str]:
    """The modules of `tritone` that a file imports, wherever in it, as dotted names without `tritone`."""
    return {name.removeprefix("tritone.") for name in imported(path) if name.startswith("tritone.")}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "src/tritone").parts[0].removesuffix(".py")


def test_arrows_only_point_down():
    faults = [
        f"{path.relative_to(ROOT)} imports tritone.{name}"
        for path in files("src/tritone/**/*.py")
        for name in sorted(modules_of(path))
        if (room := name.split(".")[0]) != room_of(path) and room not in BELOW.get(room_of(path), set())
    ]
    assert faults == []


def test_the_client_has_no_import_circle():
    """Imports for types alone count too."""
    source = ROOT / "client/src"
    parts = {module_of(path, source): path for path in files("client/src/tritone_client/**/*.py")}
    rooms = {name for name in parts if any(other.startswith(f"{name}.") for other in parts)}
    known = {
        name: {
            part for part in parts.keys() - rooms for module in imported(path) if f"{module}.".startswith(f"{part}.")
        }
        for name, path in parts.items()
        if name not in rooms
    }
    assert known["tritone_client.client"]
    assert list(TopologicalSorter(known).static_order())  # raises CycleError, which names the circle


# Which rooms of the client each may know besides itself; what stands beside the rooms is known to all of them.
CLIENT_BELOW = {
    "calls": set[str](),
    "transports": {"calls"},
    "verbs": {"calls", "transports"},
    "search": {"calls", "verbs"},
}


def test_the_clients_arrows_only_point_down():
    faults = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, below in CLIENT_BELOW.items()
        for path in files(f"client/src/tritone_client/{room}/*.py")
        for name in sorted(imported(path))
        if any(name.startswith(f"tritone_client.{other}.") for other in CLIENT_BELOW.keys() - below - {room})
    ]
    assert faults == []


def test_every_room_has_its_place():
    assert {room_of(path) for path in files("src/tritone/**/*.py")} - {"__init__"} == set(BELOW)


def test_no_room_is_full():
    rooms = [path.parent for pattern in PACKAGES for path in files(f"{pattern}/**/__init__.py")]
    assert [str(room) for room in rooms if len(list(room.glob("*.py"))) > MOST_FILES] == []


def test_every_folder_of_code_is_a_package():
    """setuptools leaves out a folder without `__init__.py`."""
    inside = [path for pattern in PACKAGES for path in files(f"{pattern}/**/*.py")]
    assert [str(path) for path in inside if not (path.parent / "__init__.py").exists()] == []


def names_of(path: Path) -> set[str]:
    """What a module has at its top level."""
    table = symtable.symtable(path.read_text("utf-8"), str(path), "exec")
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}


def test_what_a_script_takes_from_its_neighbours_is_there():
    """No other code imports benchmarks, and no type checker reads them."""
    faults = [
        f"{path.relative_to(ROOT)} takes {name} from {neighbour.name}"
        for pattern in ("loadtest/**/*.py", "scripts/**/*.py")
        for path in files(pattern)
        for module, _, name in (taken.rpartition(".") for taken in sorted(imported(path)))
        if (neighbour := path.parent / f"{module}.py").exists() and name not in names_of(neighbour)
    ]
    assert faults == []


def test_modules_are_seen_in_every_form(tmp_path):
    file = tmp_path / "example.py"
    file.write_text(
        "import tritone.pulse\nfrom tritone import errors\ndef f():\n    from tritone.media.audio import load\n"
    )
    assert modules_of(file) == {"pulse", "errors", "media.audio.load"}


def test_models_import_heavy_libraries_late():
    """Triton imports model.py twice, once only to look at it."""
    assert [str(path) for path in files("model_repository/*/1/model.py") if imports(path, True) & HEAVY] == []


def test_imports_sees_every_form(tmp_path):
    file = tmp_path / "example.py"
    file.write_text("import torch.nn as nn\nfrom . import near\ndef f():\n    from tritone.media.audio import load\n")
    assert imports(file) == {"torch", "tritone"}
    assert imports(file, top_level_only=True) == {"torch"}
