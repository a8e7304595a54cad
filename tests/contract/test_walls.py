"""Who may import whom."""

import ast
from pathlib import Path

import pytest
from contract.repositories import ROOT

HEAVY = {"torch", "transformers", "diffusers", "TTS", "librosa"}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """The first names of all modules that a file imports."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


def files(pattern: str) -> list[Path]:
    found = sorted(ROOT.glob(pattern))
    assert found, f"no file is {pattern}"
    return found


@pytest.mark.parametrize(
    ("pattern", "forbidden"),
    [
        ("src/tritone/**/*.py", {"tritone_client"}),
        ("model_repository/*/1/model.py", {"tritone_client"}),
        ("client/src/**/*.py", {"tritone", "torch"}),
    ],
)
def test_client_and_server_do_not_import_each_other(pattern, forbidden):
    assert [str(path) for path in files(pattern) if imports(path) & forbidden] == []


def test_only_serving_and_its_parts_and_the_models_know_pb_utils():
    knowing = [path.name for path in files("src/tritone/**/*.py") if "triton_python_backend_utils" in imports(path)]
    assert knowing == ["answers.py", "bls.py", "entrance.py", "metrics.py", "request.py", "serving.py", "tensors.py"]


def test_only_the_transport_knows_tritonclient():
    knowing = {path.name for path in files("client/src/**/*.py") if imports(path) & {"tritonclient", "grpc"}}
    assert knowing == {"_transport.py"}


def test_models_import_heavy_libraries_late():
    """Triton imports model.py twice, once only to look at it."""
    assert [str(path) for path in files("model_repository/*/1/model.py") if imports(path, True) & HEAVY] == []


def test_imports_sees_every_form(tmp_path):
    file = tmp_path / "example.py"
    file.write_text("import torch.nn as nn\nfrom . import near\ndef f():\n    from tritone.media.audio import load\n")
    assert imports(file) == {"torch", "tritone"}
    assert imports(file, top_level_only=True) == {"torch"}
