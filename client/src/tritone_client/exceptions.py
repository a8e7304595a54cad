"""What can go wrong. Every error of this package is one of these; foreign errors become one of them in `transports`.

Error                    catches all of them; carries the model's name and the request's id
├── InvalidInput         the request breaks a rule that the message names; sending it again will not help
├── NotServed            this server does not do that at all, or not for this caller
├── ModelNotReady        the model is not there, or not yet, or being restarted; `retry_after_s` where the server says
├── Overloaded           the server has too much to do; the same request may succeed later, after `retry_after_s`
├── ServerUnavailable    nobody answers at the address, or the connection broke
├── RequestTimedOut      no answer within `timeout_s`
├── Cancelled            the request was cancelled before it was answered
└── InferenceFailed      a defect on the server's side; its log has the details
"""


class Error(Exception):
    """An error of a Tritone request.

    Attributes:
        model: the model that was asked; None where the server itself was.
        request_id: as in the server's log; None where no request was made.
    """

    def __init__(self, message: str, *, model: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.model = model
        self.request_id = request_id


class InvalidInput(Error):
    """The request breaks a rule that its message names, with the value and the limit."""


class NotServed(Error):
    """The server does not offer this, or not to this caller."""


class Refusal(Error):
    """What two refusals have in common; not public: catch `Overloaded` and `ModelNotReady`.

    Attributes:
        retry_after_s: the seconds after which the server says that the request may succeed; None if it does not say.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, model=model, request_id=request_id)
        self.retry_after_s = retry_after_s


class ModelNotReady(Refusal):
    """The model does not exist on this server, is still loading, or is being restarted."""


class Overloaded(Refusal):
    """The server refused the request at once because it is full; try again after `retry_after_s`."""


class ServerUnavailable(Error):
    """No server answers at the address, or the connection broke before the answer came.

    Attributes:
        was_sent: False where the request certainly never reached a server, so that it may be sent again without harm.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        request_id: str | None = None,
        was_sent: bool = True,
    ) -> None:
        super().__init__(message, model=model, request_id=request_id)
        self.was_sent = was_sent


class RequestTimedOut(Error):
    """The answer did not come within `timeout_s`; the server was told to stop."""


class Cancelled(Error):
    """The request was cancelled before it was answered."""


class InferenceFailed(Error):
    """The server failed to do what it should; its log says why, under the request's id."""
