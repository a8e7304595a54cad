"""A CUDA device that is not there, and a counter of what makes the host wait for one.

Under `fake_cuda` tensors are torch's fake ones: they have a shape, a dtype and a device and no numbers, so networks of
true size run anywhere in a moment. What a real card refuses is refused here: operands on two devices, matrices and
norms of two dtypes, tensors that were made outside. A number that is asked for is made up.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partialmethod
from unittest import mock

import numpy as np
import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils import dlpack
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

import tritone

aten = torch.ops.aten
OURS = tritone.__path__[0]

# A card's kernels take one floating dtype.
_ONE_DTYPE = {
    aten.mm,
    aten.addmm,
    aten.bmm,
    aten.baddbmm,
    aten.convolution,
    aten.native_layer_norm,
    aten.native_group_norm,
    aten.native_batch_norm,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
}
# Their results are as large as their numbers say, or they look at the numbers themselves.
WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten.multinomial,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.equal,
    aten.bincount,
}
_COPYING = {aten._to_copy, aten.copy_, aten.copy}
_INDEXING = {aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_}


@dataclass(frozen=True)
class Placed:
    """A tensor that an operator made on the card."""

    operator: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    device: torch.device


@dataclass
class FakeCuda:
    """What the fake card has seen."""

    calls: list[tuple[str, object]] = field(default_factory=list)  # of torch.cuda's functions that change or wait
    placed: list[Placed] = field(default_factory=list)  # every result of every operator, views included
    _threads: threading.local = field(default_factory=threading.local)

    def shapes(self, dtype: torch.dtype) -> set[tuple[int, ...]]:
        """The shapes of that dtype that were ever on the card."""
        return {each.shape for each in self.placed if each.dtype == dtype}

    @property
    def device(self) -> int:
        """The current one of the thread that asks, as CUDA has it."""
        return getattr(self._threads, "device", 0)

    def set_device(self, device: int | str | torch.device) -> None:
        self._threads.device = _index(device, self.device)
        self.calls.append(("set_device", self.device))


class _Stream:
    """A stream of the fake card; it is always done."""

    def __init__(self, card: FakeCuda, device: int) -> None:
        self._card, self.device = card, torch.device("cuda", device)

    def synchronize(self) -> None:
        self._card.calls.append(("stream.synchronize", self.device.index))

    def wait_stream(self, other: _Stream) -> None:
        pass


@contextlib.contextmanager
def fake_cuda(devices: int = 2, memory: int = 80 << 30, number: int = 0) -> Iterator[FakeCuda]:
    """Tensors made inside are fake, on "cuda" as on "cpu", and torch says that it has `devices` cards.

    Args:
        memory: bytes of each card, all of them free.
        number: what is read of every tensor whose numbers are not known.

    Raises (inside): whatever torch raises for tensors on two devices; TypeError for matrices of two dtypes.
    """
    card = FakeCuda()
    # Entered before torch says that there is a card: so the mode keeps its hands off the real one.
    with FakeTensorMode(allow_non_fake_inputs=False) as mode, contextlib.ExitStack() as stack:
        for name, replacement in _torch_cuda(card, devices, memory).items():
            stack.enter_context(mock.patch.object(torch.cuda, name, replacement))
        stack.enter_context(mock.patch.object(FakeTensorMode, "avoid_device_init", True))
        stack.enter_context(mock.patch.object(fake_tensor, "init_gpu_context", mock.Mock()))
        # Modules are moved by swapping tensors; the mode's own weak references would forbid it.
        stack.enter_context(mock.patch.object(torch.utils, "weakref", mock.Mock(getweakrefs=lambda _: [])))
        stack.enter_context(mock.patch.object(torch, "Generator", _Generator))
        stack.enter_context(mock.patch.object(FakeTensor, "tolist", partialmethod(_tolist, number)))
        stack.enter_context(mock.patch.object(FakeTensor, "numpy", partialmethod(_numpy, number), create=True))
        stack.enter_context(mock.patch.object(torch, "from_numpy", _from_numpy(mode, torch.from_numpy)))
        stack.enter_context(mock.patch.object(dlpack, "from_dlpack", lambda lent: lent.tensor.detach()))
        stack.enter_context(_Card(card, number))
        yield card


def _torch_cuda(card: FakeCuda, devices: int, memory: int) -> dict[str, object]:
    """By name, the functions of torch.cuda that ask a real card."""
    properties = mock.Mock(total_memory=memory, major=9, minor=0, multi_processor_count=132)
    properties.name = "fake"

    def told(name: str) -> object:
        return lambda device=None: card.calls.append((name, _index(device, card.device)))

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "device_count": lambda: devices,
        "current_device": lambda: card.device,
        "set_device": card.set_device,
        "synchronize": told("synchronize"),
        "empty_cache": lambda: card.calls.append(("empty_cache", card.device)),
        "current_stream": lambda device=None: _Stream(card, _index(device, card.device)),
        "mem_get_info": lambda device=None: (memory, memory),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_name": lambda device=None: "fake",
        "manual_seed_all": lambda seed: card.calls.append(("manual_seed_all", seed)),
        "get_rng_state": lambda device=None: None,
        "set_rng_state": lambda state, device=None: None,
        "is_bf16_supported": lambda including_emulation=True: True,
    }


def _index(device: object, current: int) -> int:
    if device is None:
        return current
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return current if index is None else index


class _Card(TorchDispatchMode):
    """Refuses what a card refuses, answers what only numbers can, notes what is placed."""

    def __init__(self, card: FakeCuda, number: int) -> None:
        super().__init__()
        self._card, self._number = card, number

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if (result := _decomposed(self, func, args, kwargs)) is not NotImplemented:
            return result
        if func.overloadpacket in _ONE_DTYPE:
            _refuse_two_dtypes(func, args, kwargs)
        if func is aten._local_scalar_dense.default and _constant(args[0]) is None:
            with fake_tensor.unset_fake_temporarily():
                return torch.tensor(self._number).to(args[0].dtype).item()
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.device.type == "cuda":
                self._card.placed.append(Placed(str(func), tensor.dtype, tuple(tensor.shape), tensor.device))
        return result


def _decomposed(mode, func, args, kwargs):
    """What an operator that is made of others gives, each seen by the mode; NotImplemented for one that is not."""
    if func.namespace != "aten":
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


def _refuse_two_dtypes(func, args, kwargs) -> None:
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    found = {each.dtype for each in tensors if each.dtype.is_floating_point and each.device.type == "cuda"}
    if len(found) > 1:
        raise TypeError(f"{func} got {' and '.join(sorted(map(str, found)))}")


def _constant(tensor: torch.Tensor) -> torch.Tensor | None:
    return getattr(tensor, "constant", None)


def _numpy(tensor: FakeTensor, number: int, **_: object) -> np.ndarray:
    """Real numbers in place of a fake tensor's."""
    if tensor.device.type != "cpu":
        raise TypeError(f"can't convert {tensor.device} device type tensor to numpy")
    shape, dtype, known = tuple(tensor.shape), tensor.dtype, _constant(tensor)
    with fake_tensor.unset_fake_temporarily(), _disable_current_modes():
        return (torch.full(shape, number, dtype=dtype) if known is None else known.detach().clone()).numpy()


def _tolist(tensor: FakeTensor, number: int) -> object:
    host = tensor.cpu()
    return _numpy(host.float() if host.dtype == torch.bfloat16 else host, number).tolist()


class _Generator(torch.Generator):
    """A generator of the card is one of the host."""

    def __new__(cls, device: object = "cpu") -> _Generator:
        return super().__new__(cls, "cpu")


def _from_numpy(mode: FakeTensorMode, from_numpy) -> object:
    def fake_from_numpy(array) -> torch.Tensor:
        with fake_tensor.unset_fake_temporarily():
            real = from_numpy(array)
        return mode.from_tensor(real)

    return fake_from_numpy


# ---- waiting


@dataclass
class Synchronisations:
    """Where the host waited for the device, each as "operator at file:line"."""

    found: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.found)


@contextlib.contextmanager
def count_synchronisations(device: str = "cuda") -> Iterator[Synchronisations]:
    """Counts what makes the host wait for a device: numbers that are read, copies between the two, sizes found in data.

    Copies to the card count too: from pageable memory torch waits for the stream, unless told `non_blocking`.

    Args:
        device: whose tensors count. With "cpu" ordinary tensors count as if they lay on a card, by the numbers that
            are read of them (`int(x)`, `if x`, `x.tolist()`, `x.numpy()`); there are no copies to see then.

    Counted is what this thread does.
    """
    seen = Synchronisations()
    with _Reading(seen, device), _Waiting(seen, device):
        yield seen


class _Waiting(TorchDispatchMode):
    def __init__(self, seen: Synchronisations, device: str) -> None:
        super().__init__()
        self._seen, self._device = seen, device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if (result := _decomposed(self, func, args, kwargs)) is not NotImplemented:
            return result
        before = _devices(args, kwargs)
        result = func(*args, **kwargs)
        if self._waits(func.overloadpacket, before, args, kwargs, result):
            self._seen.found.append(f"{func} at {_place()}")
        return result

    def _waits(self, operator, before: set[str], args, kwargs, result) -> bool:
        if operator in WAITING:
            return self._device in before
        if operator in _COPYING:
            crossing = before | _devices(result, {}) if result.numel() else set()  # what is empty is not copied
            return len(crossing) > 1 and self._device in crossing and not _non_blocking(args, kwargs)
        if operator in _INDEXING and args[0].device.type == self._device:
            if _fills(args[1], *args[2:3]):
                return False
            return any(
                index is not None and (index.device.type != self._device or index.dtype in (torch.bool, torch.uint8))
                for index in args[1]
            )
        return False


def _fills(indices, value=None) -> bool:
    """`x[mask] = number`, of which torch makes `masked_fill` (aten/native/IndexingUtils.h, canDispatchToMaskedFill)."""
    if value is None or value.numel() != 1 or value.device.type != "cpu":
        return False
    return all(index is None or index.dtype in (torch.bool, torch.uint8) for index in indices)


class _Reading(TorchFunctionMode):
    """`tolist` and `numpy` of an ordinary tensor call no operator."""

    def __init__(self, seen: Synchronisations, device: str) -> None:
        super().__init__()
        self._seen, self._device = seen, device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.tolist, torch.Tensor.numpy) and self._device == args[0].device.type == "cpu":
            self._seen.found.append(f"{func.__name__} at {_place()}")
        return func(*args, **(kwargs or {}))


def _devices(*trees: object) -> set[str]:
    return {each.device.type for each in tree_leaves(trees) if isinstance(each, torch.Tensor)}


def _non_blocking(args, kwargs) -> bool:
    return bool(kwargs.get("non_blocking", False)) or (len(args) > 2 and args[2] is True)


def _place() -> str:
    """The innermost line of this project's own."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(OURS):
            return f"{frame.filename.rsplit('/', 1)[1]}:{frame.lineno}"
    return "a test"
