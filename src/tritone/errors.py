"""The errors that model code raises. It knows nothing of Triton: `serving` turns each into Triton's status code.

TritoneError
├── InvalidInput   the caller's fault; the sentence names the value and the limit   (INVALID_ARG)
├── Unavailable    too much work at once; the same request may succeed later        (UNAVAILABLE)
└── NotServed      the checkpoint or server cannot do this at all                   (UNSUPPORTED)

Anything else is a defect of ours: INTERNAL, logged once, without the caller's words, picture or sound.
"""

from typing import Self


class TritoneError(Exception):
    """An error whose message is written for the caller."""

    def renamed(self, name: str, other: str) -> Self:
        """This error, told of `other` where another model, or another function, knew the input as `name`."""
        message = str(self)
        self.args = (message.replace(name, other) if name in message else f"{other}: {message}",)
        return self


class InvalidInput(TritoneError):
    """The request breaks a rule that its message names, with the value and the limit."""


class Unavailable(TritoneError):
    """The server cannot do it now; the message says why, and when to try again."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{message}; try again in {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


class NotServed(TritoneError):
    """The request asks for something that this server or checkpoint does not do."""
