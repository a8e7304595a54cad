"""A stand-in for the module of that name, which exists only inside Triton's Python backend.

It keeps what the backend keeps (errors with codes, senders that close with FINAL, BLS calls to other models) and
checks what the backend checks, so that a `model.py` runs here as it runs there.
"""

import enum
import json
import threading
from typing import ClassVar

import numpy as np

TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
TRITONSERVER_MEMORY_CPU = 0
TRITONSERVER_MEMORY_GPU = 1
_NUMPY_TYPES = {
    "TYPE_STRING": np.object_,
    "TYPE_FP32": np.float32,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_UINT8": np.uint8,
    "TYPE_BOOL": np.bool_,
}
# What BLS calls reach: model name -> function from an InferenceRequest to a list of InferenceResponse.
MODELS = {}


class TritonModelException(Exception):
    pass


class ErrorCode(enum.Enum):
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = range(8)


class TritonError:
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG, UNAVAILABLE, UNSUPPORTED, ALREADY_EXISTS, CANCELLED = ErrorCode

    def __init__(self, message, code=INTERNAL):
        assert isinstance(message, str), message
        assert isinstance(code, ErrorCode), code  # the backend takes its own enumeration and no numbers
        self._message, self._code = message, code

    def message(self):
        return self._message

    def code(self):
        return self._code


class Lent:
    """A capsule of DLPack for a tensor of `fake_cuda`, which takes it back in `torch.utils.dlpack.from_dlpack`."""

    def __init__(self, tensor):
        self.tensor = tensor


class Tensor:
    lent = None  # a tensor of `fake_cuda`
    waited_for = False  # whether what computed it had ended when the backend took it

    def __init__(self, name, array):
        assert isinstance(array, np.ndarray), f"{name} is {type(array)}"
        self._name, self._array, self._device = name, array, "cpu"

    def name(self):
        return self._name

    def as_numpy(self):
        assert self._device == "cpu", "tensor is stored in GPU and cannot be converted to NumPy"
        return self._array

    def is_cpu(self):
        return self._device == "cpu"

    def to_dlpack(self):
        return self._array.__dlpack__() if self.lent is None else Lent(self.lent)

    @classmethod
    def from_dlpack(cls, name, given):
        """As pb_tensor.cc: an object is told a stream and waited for, a capsule is taken as it is.

        A tensor of `fake_cuda` lies on its card. The fake itself has none: ordinary memory only claims to be on one.
        """
        import torch

        on_card = isinstance(given, torch.Tensor) and given.is_cuda
        tensor = cls(name, np.zeros(0) if on_card else torch.from_dlpack(given).numpy())
        tensor._device = str(given.device) if on_card else "cuda:0"
        tensor.lent = given if on_card else None
        tensor.waited_for = hasattr(given, "__dlpack__")
        return tensor


class InferenceResponse:
    def __init__(self, output_tensors=(), error=None):
        self._tensors, self._error = list(output_tensors), error

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error

    def output_tensors(self):
        return self._tensors

    def __getitem__(self, name):
        """The first row of an output; raises KeyError where the response does not have it."""
        return {tensor.name(): tensor.as_numpy() for tensor in self._tensors}[name][0]


class ResponseSender:
    """Collects responses; `final` is set once FINAL was sent, and nothing may follow it."""

    def __init__(self, request):
        self._request, self.responses = request, []
        self.first, self.final = threading.Event(), threading.Event()

    def send(self, response=None, flags=0):
        assert not self.final.is_set(), "Response sender has been closed."
        if response is not None:
            self.responses.append(response)
            self.first.set()
        if flags & TRITONSERVER_RESPONSE_COMPLETE_FINAL:
            self.final.set()

    def is_cancelled(self):
        return self._request.cancelled


class InferenceRequest:
    def __init__(
        self, model_name="", requested_output_names=(), inputs=(), request_id="", parameters=None, preferred_memory=None
    ):
        self.model_name, self.cancelled, self.microseconds = model_name, False, 0
        self._outputs, self._id, self._parameters = list(requested_output_names), request_id, parameters or {}
        self._inputs = {tensor.name(): tensor for tensor in inputs}
        self.preferred_memory = preferred_memory
        self.sender = ResponseSender(self)

    def inputs(self):
        return list(self._inputs.values())

    def request_id(self):
        return self._id

    def parameters(self):
        return json.dumps(self._parameters)

    def timeout(self):
        """Microseconds; 0 is none."""
        return self.microseconds

    def requested_output_names(self):
        return self._outputs

    def get_response_sender(self):
        return self.sender

    def exec(self, decoupled=False):
        responses = MODELS[self.model_name](self)
        return iter(responses) if decoupled else responses[0]


class PreferredMemory:
    def __init__(self, kind, device=0):
        self.kind, self.device = kind, device


class Logger:
    lines: ClassVar[list[str]] = []

    @classmethod
    def log_error(cls, line):
        cls.lines.append(line)

    log_info = log_warn = log_error


class _Metric:
    def __init__(self):
        self.number = 0.0

    def increment(self, value):
        self.number += value

    def value(self):
        return self.number


class MetricFamily:
    COUNTER, GAUGE = "counter", "gauge"
    shown: ClassVar[dict[tuple[str, str], _Metric]] = {}  # by name and model instance

    def __init__(self, name, description, kind):
        assert (kind == self.COUNTER) == name.endswith("_total"), name
        self.name = name

    def Metric(self, labels):  # noqa: N802 - the backend's name
        return self.shown.setdefault((self.name, labels["model_instance"]), _Metric())


def get_input_tensor_by_name(request, name):
    return request._inputs.get(name)


def triton_string_to_numpy(data_type):
    return _NUMPY_TYPES[data_type]
