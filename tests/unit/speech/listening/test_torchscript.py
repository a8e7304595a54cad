"""A TorchScript file's tensors, read without torch."""

import pickle
import zipfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from tritone.speech.listening.torchscript import tensors


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_tensor_is_the_one_that_torch_reads():
    file = Path(str(files("silero_vad.data") / "silero_vad.jit"))
    expected, found = torch.jit.load(file).state_dict(), tensors(file)
    assert expected
    for name, tensor in expected.items():
        assert np.array_equal(found[name], tensor.numpy()), name


def test_a_file_that_would_run_something_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    with zipfile.ZipFile(tmp_path / "hostile.jit", "w") as archive:
        archive.writestr("hostile/data.pkl", pickle.dumps(Hostile()))
    with pytest.raises(pickle.UnpicklingError, match="neither a module nor a float32 tensor"):
        tensors(tmp_path / "hostile.jit")
    assert not (tmp_path / "ran").exists()
