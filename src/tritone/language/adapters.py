"""LoRA adapters beside one copy of the weights: each row of a batch through its own (PEFT's mixed batches)."""

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from tritone.errors import InvalidInput

if TYPE_CHECKING:
    from peft import PeftModel  # seconds to import, and most servers have no adapter; so below

BASE = ""  # no adapter
_PEFT_BASE = "__base__"  # PEFT's word for it
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # also what torch accepts as the name of a module


class Adapters:
    """The adapters of a model, by name. Without any, nothing about the model changes."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = tuple(names)
        self._passes = threading.local()  # of the pass that runs now in each thread: `rows`

    @classmethod
    def load(cls, model: Any, directory: Path) -> "Adapters":
        """Every PEFT LoRA folder `directory/<name>`, put into the model's layers in place.

        Raises: ValueError: a folder that cannot be served, by name.
        """
        folders = find(directory)
        wrapped: PeftModel | None = None
        for folder in folders:
            with naming(folder):
                wrapped = _put_in(model, wrapped, folder)
        adapters = cls([folder.name for folder in folders])
        for module in _changed(model) if folders else ():
            module.register_forward_pre_hook(adapters._name_rows, with_kwargs=True)
        return adapters

    def check(self, name: str) -> None:
        """Raises: InvalidInput: no such adapter; the message lists those there are."""
        if name != BASE and name not in self.names:
            known = ", ".join(self.names) or "none"
            raise InvalidInput(f"adapter is {name[:100]!r}, the adapters of this server are: {known}")

    @contextmanager
    def rows(self, names: Sequence[str]) -> Iterator[None]:
        """While the context lasts, the model's passes in this thread have these adapters, row by row."""
        self._passes.rows = [name or _PEFT_BASE for name in names] if self.names else None
        try:
            yield
        finally:
            self._passes.rows = None

    def _name_rows(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        # Outside of `rows`, too, the checkpoint is itself and no adapter's.
        rows = getattr(self._passes, "rows", None)
        return args, {**kwargs, "adapter_names": rows or [_PEFT_BASE] * len(args[0])}


def find(directory: Path) -> list[Path]:
    """Every PEFT LoRA folder `directory/<name>`, sorted.

    Raises: ValueError: a folder that cannot be served, by name.
    """
    folders = sorted(file.parent for file in directory.glob("*/adapter_config.json"))
    for folder in folders:
        with naming(folder):
            _check(folder)
    return folders


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Raises: ValueError: whatever goes wrong in the context, with the adapter's name."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"adapter '{folder.name}' ({folder}) cannot be served: {error}") from error


def _put_in(model: Any, wrapped: "PeftModel | None", folder: Path) -> "PeftModel":
    """The model with one adapter more; `wrapped` is what it was with those before."""
    from peft import PeftModel

    device = str(model.device)  # PEFT's own choice is the first GPU, be the model on it or not
    if wrapped is None:
        return PeftModel.from_pretrained(model, str(folder), folder.name, torch_device=device)
    wrapped.load_adapter(str(folder), folder.name, torch_device=device)
    return wrapped


def _changed(model: Any) -> list[nn.Module]:
    """The layers that adapters were put into."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds = (LoraLayer, AuxiliaryTrainingWrapper)
    return [module for module in model.modules() if isinstance(module, kinds) and isinstance(module, nn.Module)]


def _check(folder: Path) -> None:
    from peft import PeftConfig

    if not _NAME.fullmatch(folder.name):
        raise ValueError("its name must be letters, digits, '_' and '-'")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ValueError("it has no adapter_model.safetensors")
    config = PeftConfig.from_pretrained(str(folder))
    if str(getattr(config.peft_type, "value", config.peft_type)) != "LORA" or getattr(config, "use_dora", False):
        raise ValueError(f"it is {config.peft_type}, and only plain LoRA can share a batch with others")
