"""What the processes of a server at work have loaded, seen from outside."""

from pathlib import Path

import psutil
import pytest

from tritone.server.background import model_of

pytestmark = pytest.mark.e2e


def loaded(process, library):
    return library in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize("library", ["libtriton.so", "libbitsandbytes"])
def test_no_model_has_loaded_torchs_compiler_or_what_only_training_needs(server, library):
    """Both bring a library of their own, so that they show in a process's map; every model has warmed up."""
    processes = {model_of(child): child for child in psutil.Process(server.process.pid).children(recursive=True)}
    assert loaded(processes["sd_unet"], "libtorch_cpu")
    assert [name for name, process in processes.items() if loaded(process, library)] == []
