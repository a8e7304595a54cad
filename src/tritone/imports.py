"""What other libraries import and our networks never use: seconds of a processor and megabytes in every process.

`tritone serve` asks its models' processes to do without (SERVING in the environment); a test, a script or a notebook
gets everything. The means are Python's own: a package that `sys.modules` holds as None is not installed, and a finder
on `sys.meta_path` decides what an import brings. docs/footprint.md has what they save.
"""

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

SERVING = {"TRITONE_IMPORTS": "serving"}  # anything else: all
# Of what transformers and diffusers import where it is installed: for training, for other modalities and machines.
LEFT_OUT = ("bitsandbytes", "peft", "scipy", "torchaudio", "torchvision")
DISTRIBUTED = "torch.distributed"
COMPILER = "torch._dynamo"
# Decorators for whoever compiles; a function that is not compiled is the same without.
MARKS = ("disable", "allow_in_graph", "assume_constant_result")
# Submodules that transformers and torchvision take one name from as they are imported.
TAKEN = {
    f"{COMPILER}._trace_wrapped_higher_order_op": "TransformGetItemToIndex",
    f"{COMPILER}.utils": "is_compile_supported",
}


@contextlib.contextmanager
def for_serving(*needed: str) -> Iterator[None]:
    """Import networks, in a process that serves them and does nothing else, without what only others need.

    Args:
        needed: what these networks use all the same, of LEFT_OUT and DISTRIBUTED.
    """
    if not SERVING.items() <= os.environ.items():
        yield
        return
    postpone_compiler()
    if DISTRIBUTED not in needed:
        _alone()
    with without(*(package for package in LEFT_OUT if package not in needed)):
        yield


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Let a library that does without some packages, where they are missing, find them missing.

    What is loaded already stays. Afterwards they can be imported again; the library has made up its mind.
    """
    hidden = [package for package in packages if package not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for package in hidden:
            if sys.modules[package] is None:
                del sys.modules[package]


def postpone_compiler() -> None:
    """Let torch's compiler be loaded when something of it is used: transformers imports it for its decorators alone.

    Functions that were decorated before are not marked for the compiler, should one be used later.
    """
    if COMPILER not in sys.modules and not any(isinstance(each, _Postponed) for each in sys.meta_path):
        sys.meta_path.insert(0, _Postponed())


def _alone() -> None:
    """Let libraries find a torch that is built without talking to other processes, as it is for some machines."""
    import torch.distributed

    torch.distributed.is_available = lambda: False


class _Postponed:
    """Finder and loader of stand-ins for the compiler, until the first thing that they cannot stand in for."""

    def __init__(self) -> None:
        self._loading = threading.RLock()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """For the import system: of the compiler and everything in it."""
        if name == COMPILER or name.startswith(f"{COMPILER}."):
            return ModuleSpec(name, self, is_package=name == COMPILER)  # type: ignore[arg-type]
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """For the import system: a stand-in where one will do."""
        if spec.name == COMPILER or spec.name in TAKEN:
            return _StandIn(spec.name, self)
        return self.load(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """For the import system: nothing is left to be done."""

    def load(self, name: str) -> ModuleType:
        """The real module; from now on all of the compiler is."""
        with self._loading:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                for stand_in in (COMPILER, *TAKEN):
                    sys.modules.pop(stand_in, None)
            return importlib.import_module(name)


class _StandIn(ModuleType):
    """A module of the compiler that has not been loaded."""

    def __init__(self, name: str, postponed: _Postponed) -> None:
        super().__init__(name)
        self._postponed = postponed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__ == COMPILER and name in MARKS:
            return _unmarked
        if TAKEN.get(self.__name__) == name:
            return lambda *args, **kwargs: self._real(name)(*args, **kwargs)
        return self._real(name)

    def _real(self, name: str) -> Any:
        return getattr(self._postponed.load(self.__name__), name)


def _unmarked(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    return _unmarked if function is None else function
