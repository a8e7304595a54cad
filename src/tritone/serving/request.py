"""A request as Triton hands it over, and everything that may be said of it before it is computed.

    received    who asks: a caller from outside, or a fellow model with the server's token; until when; which call
    answered    with outputs, or with an error; once, whatever happens

The rules of sending on server 2.51: one call at a time to a sender, and none after FINAL, or the server dies; and a
send to a process that has been killed meanwhile never returns, so that it belongs on a thread.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from tritone import pulse
from tritone.errors import InvalidInput, Unavailable

# Parameters between the processes of one server. TOKEN proves that the sender is one.
TOKEN = "token"  # noqa: S105
CALLER = "caller"  # the pulse of the process that asks
DEADLINE = "deadline"  # time.monotonic(), in microseconds, after which nobody wants the answer
CANARY = "canary"
DEEP = "deep"  # a canary that wants a real row to be computed
# Asks for the status code in front of an error's sentence: server 2.51 drops it on its way to a fellow model, and to
# the reader of a stream.
STATUS = "status"
# Asks for an error as the text of the first output that is wanted, behind ERROR. An error response of a stream that a
# fellow model reads kills server 2.51: it leaves the number of the call unset, what stands there may be another's, and
# it is that call which is then cleaned up while it is still being answered.
ERROR_AS_OUTPUT = "error_as_output"
ERROR = b"\0error "
# A caller's own deadline, in microseconds. Triton takes it from `infer` and gRPC; of `generate` it only hands it on.
TIMEOUT = "timeout"
# A caller's own parameter: files among the outputs (`tensors.BINARY`) come as base64 text.
BINARY, BASE64 = "binary", "base64"


class Sender:
    """A response sender that threads may share."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._finished = False

    def send(self, response: Any = None, final: bool = False) -> None:
        """Send a response, FINAL, or both at once. Blocks until the server has taken it; nothing follows FINAL."""
        flags = {"flags": pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL} if final else {}
        with self._lock:
            if not self._finished:
                self._sender.send(**({"response": response} if response is not None else {}), **flags)
                self._finished = final

    def is_cancelled(self) -> bool:
        """Whether the caller has left; False while something is being sent to him."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return not self._finished and bool(self._sender.is_cancelled())
        finally:
            self._lock.release()


class Request:
    """One request of a model.

    Attributes:
        inside: whether a fellow model of this server asks, as part of a request that was let in already.
        number: which call of the fellow model it is; "" for callers from outside.
        deadline: time.monotonic() after which nobody wants the answer.
        binary: "" or, for outputs that are files, the caller's wish for BASE64.
        as_json: whether the answer is written as JSON, which has no place for bytes.
        canary: "" or which kind of sign of life is asked for.
        rows: what to compute.
        tickets: the rows' places in the queue of an ensemble, see `tritone.serving.admission.Passage`; mostly none.
        response: the answer, once there is one.
        by_sender: whether it is sent and not returned.
    """

    def __init__(
        self, raw: Any, pulses: Path, token: str, by_sender: bool = False, marks: Collection[str] = ()
    ) -> None:
        """`marks`: parameters of which Triton's front ends set one, but for the generate extension; none: unknown."""
        self.raw, self._pulses, self.by_sender = raw, pulses, by_sender
        parameters = dict(json.loads(raw.parameters() or "{}"))
        self.inside = parameters.get(TOKEN) == token
        self.binary = "" if self.inside else str(parameters.get(BINARY, ""))
        self.as_json = bool(marks) and not self.inside and not any(name.lower() in marks for name in parameters)
        self.wants_status = bool(parameters.get(STATUS))
        self.wants_error_as_output = self.inside and bool(parameters.get(ERROR_AS_OUTPUT))
        self.canary = str(parameters.get(CANARY, "")) if self.inside else ""
        self.caller = str(parameters.get(CALLER, "")) if self.inside else ""
        self.number = str(raw.request_id()) if self.inside else ""
        self.received = time.monotonic()
        self.deadline = self._deadline(parameters)
        self.rows: list[Any] = []
        self.tickets: list[int] = []
        self.response: Any = None
        self._sender: Sender | None = None

    def _deadline(self, parameters: dict[str, Any]) -> float:
        if self.inside and DEADLINE in parameters:
            return int(parameters[DEADLINE]) / 1e6
        handed_on = parameters.get(TIMEOUT)
        timeout = int(self.raw.timeout()) or (handed_on if isinstance(handed_on, int) else 0)
        return self.received + timeout / 1e6 if timeout else math.inf

    @property
    def sender(self) -> Sender:
        """Where responses are sent that are not returned."""
        self._sender = self._sender or Sender(self.raw.get_response_sender())
        return self._sender

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs that are wanted."""
        return list(self.raw.requested_output_names())

    def check_in_time(self) -> None:
        """Raises: Unavailable: the deadline has passed."""
        if time.monotonic() > self.deadline:
            raise self.too_late()

    def check_binary(self) -> None:
        """Raises: InvalidInput: the files are wanted in a way that there is not."""
        if self.binary not in ("", BASE64):
            raise InvalidInput(f"the parameter {BINARY} is '{self.binary[:40]}', must be '{BASE64}'")

    def too_late(self) -> Unavailable:
        """What to say when the deadline has passed."""
        return Unavailable(f"the request's deadline of {self.deadline - self.received:.1f} s has passed")

    def is_abandoned(self) -> bool:
        """Whether the fellow model that asks is gone: nothing can be sent to it any more."""
        return bool(self.caller) and pulse.is_dead(self._pulses, self.caller)

    def has_left(self) -> bool:
        """Whether the caller has gone. A fellow model that lives says so by `serving.cancelling`, Triton never does."""
        return self.is_abandoned() if self.caller else self.sender.is_cancelled()
