"""Values and arrays: what a model's function takes and returns, and Triton's tensors."""

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from tritone.errors import InvalidInput

if TYPE_CHECKING:
    import torch  # heavy, and of use to networks alone

STRING = "TYPE_STRING"
# Endings of the STRING tensors that hold encoded media and not text.
BINARY = ("_bytes", "_wav", "_png")
# What else an output is called that holds the same as numbers, a hundred thousand of them.
NUMBERS = ("audio", "image")
LEFT_OUT = 'JSON holds no bytes: send "binary": "base64" along to have them as text'


def to_torch(tensor: Any, device: str) -> "torch.Tensor":
    """A tensor of Triton's as torch's, on the device; memory that is there already is lent and not copied."""
    import torch
    from torch.utils.dlpack import from_dlpack

    if tensor.is_cpu():
        return torch.from_numpy(tensor.as_numpy()).to(device)
    return from_dlpack(tensor.to_dlpack()).to(device)


def copied(tensor: Any, device: str) -> "torch.Tensor":
    """A copy of a tensor that another model lends us; it is made when this returns.

    On a GPU a copy is only queued at first, and the memory goes back to its owner with the response: before the copy
    is made, if nobody waits for it.
    """
    import torch

    copy = to_torch(tensor, device).clone()
    if copy.is_cuda:
        torch.cuda.current_stream(copy.device).synchronize()
    return copy


def from_torch(name: str, tensor: "torch.Tensor") -> Any:
    """A torch tensor as Triton's, where it lies: the memory is shared, on a GPU by DLPack.

    The tensor itself is handed over and no capsule: for a tensor the backend names a stream and waits for it, from a
    capsule it reads what may not be written yet (python_backend/src/pb_tensor.cc, FromDLPack).
    """
    tensor = tensor.detach().contiguous()
    if tensor.device.type == "cpu":
        return pb_utils.Tensor(name, tensor.numpy())
    return pb_utils.Tensor.from_dlpack(name, tensor)


def value_of(name: str, row: npt.NDArray[Any], is_one_value: bool) -> Any:
    """A tensor's row as the model's function gets it; arrays are copied."""
    if row.dtype != np.object_:
        return row[0] if is_one_value else row.copy()
    values = list(row) if name.endswith(BINARY) else [_decode(name, item) for item in row]
    return values[0] if is_one_value else values


def _decode(name: str, item: bytes) -> str:
    try:
        return item.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"'{name}' is not UTF-8: byte {item[error.start]:#04x} at offset {error.start}") from None


def array_of(data_type: str, value: Any) -> npt.NDArray[Any]:
    """An output's row as Triton wants it, at least one-dimensional."""
    value = value() if callable(value) else value
    if data_type != STRING:
        numbers: npt.NDArray[Any] = np.asarray(value, pb_utils.triton_string_to_numpy(data_type))
        return numbers if numbers.ndim else numbers[None]
    items = [value] if isinstance(value, (str, bytes)) else value
    array: npt.NDArray[Any] = np.array([item.encode() if isinstance(item, str) else item for item in items], np.object_)
    return array


def as_base64(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Files in an array of bytes, as base64 text."""
    return np.array([base64.b64encode(item) for item in array.ravel()], np.object_).reshape(array.shape)


def batch_of_one(value: Any) -> npt.NDArray[Any]:
    """A plain value, as `bls.call` takes it, as a batch of one row."""
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value[None])
    if isinstance(value, np.generic):
        return np.array([[value]])
    return array_of(STRING, value)[None]
