"""A transport without a server, for the tests of programs that use this package."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from typing import Any

import numpy as np

from tritone_client.calls.call import Outputs, Request
from tritone_client.calls.models import MODELS


class MockTransport:
    """Answers from a function instead of a server, for tests; one handler serves `Client` and `AsyncClient`.

    Args:
        handler: gets each `Request` and returns its outputs by name, as plain values ("text", 1.5, [0.0, 1.0],
            b"...") or as arrays with their batch axis; for `ask_stream` an iterable of these; or raises an `Error`.
        ready: what readiness checks answer.

    >>> client = Client(transport=MockTransport(lambda request: {"text_output": "Red.", ...}))
    """

    def __init__(
        self, handler: Callable[[Request], Mapping[str, Any] | Iterable[Mapping[str, Any]]], ready: bool = True
    ) -> None:
        self.handler = handler
        self.ready = ready
        self.requests: list[Request] = []  # all that came, in order
        self.closed = False

    def infer(self, request: Request) -> Outputs:
        """See Transport."""
        self.requests.append(request)
        outputs = self.handler(request)
        if not isinstance(outputs, Mapping):
            raise TypeError(f"the handler must return one mapping for '{request.model}', not {type(outputs).__name__}")
        return _arrays(request, outputs)

    def stream(self, request: Request) -> Generator[Outputs, None, None]:
        """See Transport."""
        self.requests.append(request)
        for outputs in self.handler(request):
            if not isinstance(outputs, Mapping):
                raise TypeError(f"the handler must return an iterable of mappings for '{request.model}'")
            yield _arrays(request, outputs)

    def is_ready(self, model: str | None, timeout_s: float) -> bool:
        """See Transport."""
        return self.ready

    def close(self) -> None:
        """See Transport."""
        self.closed = True

    async def ainfer(self, request: Request) -> Outputs:
        """See AsyncTransport."""
        return self.infer(request)

    async def astream(self, request: Request) -> AsyncGenerator[Outputs, None]:
        """See AsyncTransport."""
        with contextlib.closing(self.stream(request)) as parts:
            for part in parts:
                yield part

    async def ais_ready(self, model: str | None, timeout_s: float) -> bool:
        """See AsyncTransport."""
        return self.ready

    async def aclose(self) -> None:
        """See AsyncTransport."""
        self.close()


def _arrays(request: Request, outputs: Mapping[str, Any]) -> Outputs:
    tensors = {tensor.name: tensor for tensor in MODELS[request.model].outputs}
    return {
        name: value if isinstance(value, np.ndarray) and value.ndim > 1 else tensors[name].array(value)
        for name, value in outputs.items()
    }
