"""What went wrong, in a sentence with the next step, and the exit code for it.

0  done                                    3  nobody answers, or the model is not ready
1  the server failed or was too slow       4  the server is full
2  the request or the command is wrong     130  Ctrl-C; 141  whoever read the output has left, as a shell has it
"""

from tritone_client import (
    Error,
    InferenceFailed,
    InvalidInput,
    ModelNotReady,
    NotServed,
    Overloaded,
    RequestTimedOut,
    ServerUnavailable,
)

READER_LEFT = 141
_CODES: dict[type[Error], int] = {InvalidInput: 2, ServerUnavailable: 3, ModelNotReady: 3, Overloaded: 4}
_STEPS: dict[type[Error], str] = {
    NotServed: "`tritone models` shows what is there",
    ModelNotReady: "`tritone models --wait {model}` waits for it",
    Overloaded: "try again in a moment",
    RequestTimedOut: "give it more by --timeout",
    InferenceFailed: "the server's log says more",
}


def code(error: Error) -> int:
    """The exit code."""
    return next((number for kind, number in _CODES.items() if isinstance(error, kind)), 1)


def sentence(error: Error, server: str) -> str:
    """What happened and what to do about it."""
    said = str(error).rstrip(".")
    if isinstance(error, ServerUnavailable) and "it answers, but is not ready" in said:
        what = f"{error.model} at {server}" if error.model else server
        return f"{what} is not ready: `tritone models --wait` waits longer with --timeout"
    if isinstance(error, ServerUnavailable):
        return f"nobody answers at {server}: start one with `make serve`, or name another by --server"
    step = next((words for kind, words in _STEPS.items() if isinstance(error, kind)), "").format(model=error.model)
    if isinstance(error, InferenceFailed) and error.request_id:
        step += f", under the request {error.request_id}"
    return f"{said}: {step}" if step and "try again in" not in said else said
