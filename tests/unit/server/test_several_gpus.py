"""Several GPUs, slices of one (MIG), and what CUDA_VISIBLE_DEVICES shows of them, as far as `tritone serve` asks."""

import pytest
import torch
from unit.server.test_server import PYTHON, write

from tritone.server import gpu_memory, repository, start_checks, tritonserver
from tritone.server.gpu_memory import GIB
from tritone.server.repository import CannotStart
from tritone.server.start_checks import MIB

MIG = "MIG-8f2a6f4e-3c5d-5b0a-9c0e-6d5d9d0f2b11"
CARD = "GPU-5a2f0c1b-7d3e-4b8f-8a1c-2e9d4c6b7f00"
# A torch whose CUDA reads the variable, as the real one does: two cards of 80 and 24 GiB, and a slice of 10.
TORCH = f"""
import os
FREE = {{"0": 80, "1": 24, "{CARD}": 24, "{MIG}": 10}}
visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")
class cuda:
    def device_count(): return len([name for name in visible if name])
    def mem_get_info(gpu): return (FREE[visible[gpu]] << 30, FREE[visible[gpu]] << 30)
"""


@pytest.fixture
def two_cards(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "torch.py").write_text(TORCH, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "gib"),
    [(None, [80, 24]), ("1", [24]), ("1,0", [24, 80]), (CARD, [24]), (MIG, [10]), ("", [])],
)
def test_memory_is_that_of_what_cuda_shows_in_its_order_and_of_a_slice_its_own(two_cards, monkeypatch, visible, gib):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_memory.free_memory() == {gpu: size * GIB for gpu, size in enumerate(gib)}


@pytest.mark.parametrize("torch", ["raise RuntimeError('no driver')", "print('hello')", "raise SystemExit"])
def test_a_cuda_that_does_not_answer_has_no_memory(tmp_path, monkeypatch, torch):
    (tmp_path / "torch.py").write_text(torch, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    assert gpu_memory.free_memory() == {}


def test_who_asks_does_not_count_the_context_that_asking_takes(monkeypatch):
    said = [(70 * GIB, 80 * GIB), (10 * GIB - 1, 10 * GIB)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(said))
    monkeypatch.setattr(torch.cuda, "mem_get_info", said.__getitem__)
    assert gpu_memory.shown() == [70 * GIB + gpu_memory.ASKING, 10 * GIB]


@pytest.mark.parametrize(
    ("visible", "found"),
    [("", False), (" ", False), ("-1", False), ("-1,0", False), ("0", True), ("1,0", True), (CARD, True), (MIG, True)],
)
def test_a_gpu_is_there_unless_it_is_hidden_however_it_is_named(tmp_path, monkeypatch, visible, found):
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        f"#!/bin/sh\nprintf 'GPU 0: card (UUID: {CARD})\\n  MIG 1g.10gb Device 0: (UUID: {MIG})\\n'", "utf-8"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert tritonserver.has_gpu() is found


@pytest.mark.parametrize("visible", ["", "1,0", CARD, MIG])
def test_the_server_and_its_models_are_shown_the_same_gpus(tmp_path, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    environment = tritonserver.environment(tritonserver.find(), tmp_path, None)
    assert environment["CUDA_VISIBLE_DEVICES"] == visible


def test_on_several_gpus_a_model_has_processes_and_shared_memory_for_each(tmp_path):
    write(tmp_path, "everywhere", f"{PYTHON} instance_group {{ kind: KIND_GPU count: 2 }}")
    write(tmp_path, "kept", f"{PYTHON} instance_group {{ kind: KIND_GPU gpus: [ 1 ] }}")
    write(tmp_path, "host", f"{PYTHON} instance_group {{ kind: KIND_CPU }}")
    read = repository.read([tmp_path], None)
    assert {name: model.stubs(3) for name, model in read.items()} == {"everywhere": 6, "kept": 1, "host": 1}
    assert {name: [model.processes_on(gpu) for gpu in (0, 1)] for name, model in read.items()} == {
        "everywhere": [2, 2],
        "kept": [0, 1],
        "host": [0, 0],
    }
    with pytest.raises(CannotStart, match="3 models need 16 MiB"):
        start_checks.check_shared_memory(list(read.values()), 15 * MIB, gpus=3)
    assert "need 20 MiB" in start_checks.check_shared_memory(list(read.values()), 15 * MIB, gpus=1)
