"""The tensors of a TorchScript file, read without torch and without running anything that is in it.

Such a file is a zip: `data.pkl` is a pickle of modules whose tensors name their bytes, which are the files in `data/`.
Source: PyTorch, torch/csrc/jit/docs/serialization.md.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float32]


def tensors(file: Path) -> dict[str, Numbers]:
    """The float32 tensors of a file by their names in the module's state: "encoder.0.weight".

    Raises: pickle.UnpicklingError: it holds something else than modules and float32 tensors.
    """
    with zipfile.ZipFile(file) as archive:
        [listing] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        with archive.open(listing) as pickled:
            module = _Reader(pickled, archive, listing.removesuffix(".pkl")).load()
    return dict(_named(module, ""))


class _Module:
    """A module of which only the attributes are kept; pickle puts them into `__dict__`."""


class _Reader(pickle.Unpickler):
    """Knows modules and tensors, and no other class."""

    def __init__(self, pickled: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(pickled)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a class or a function that the pickle names."""
        if module.startswith("__torch__."):
            return _Module
        if f"{module}.{name}" in _KNOWN:
            return _KNOWN[f"{module}.{name}"]
        raise pickle.UnpicklingError(f"{module}.{name} is neither a module nor a float32 tensor")

    def persistent_load(self, pid: Any) -> Any:
        """The bytes of a tensor as numbers."""
        _, kind, key, *_ = pid
        return np.frombuffer(self._archive.read(f"{self._folder}/{key}"), kind)


def _tensor(storage: Numbers, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Numbers:
    """A tensor of its own; strides are in numbers."""
    steps = tuple(stride * storage.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()


_KNOWN: dict[str, Any] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.jit._pickle.build_intlist": list,
    "torch.FloatStorage": np.float32,
    "collections.OrderedDict": OrderedDict,
}


def _named(module: _Module, prefix: str) -> Any:
    for name, value in vars(module).items():
        if isinstance(value, _Module):
            yield from _named(value, f"{prefix}{name}.")
        elif isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value
