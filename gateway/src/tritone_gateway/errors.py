"""One shape for everything that can go wrong: OpenAI's.

| status | what happened |
|---|---|
| 400 | the request breaks a rule; `param` names the field |
| 401 | no key, or one that is not known |
| 404 | no such address or model |
| 413 | the body is larger than the gateway takes |
| 429 | the server is full, or the key has had its share: `retry-after-ms` says when to come again |
| 500 | a defect, or work that began and died: `x-should-retry: false`, as it must not be done twice |
| 503 | the server is not there, or not ready yet |
"""

import contextlib
import logging
import math
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from openai.types import ErrorObject
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import tritone_client

log = logging.getLogger("tritone_gateway")

TYPES = {
    401: "authentication_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large", 415: "unsupported_media_type"}
NO_RETRY = {"x-should-retry": "false"}
MOST_PLACES = 40  # of a traceback in the log
WAIT_S = 1.0  # when to come again, where the server does not say
_FIRST_WORD = re.compile(r"(?:in ensemble '[^']*', )?['\"]?([A-Za-z_]+)(?:\[(\d+)\])?['\"]?(?=[\s.:])")


class Failure(BaseModel):
    """The body of every error, as the OpenAPI document has it."""

    error: ErrorObject


FAILURES: dict[int | str, dict[str, Any]] = {"4XX": {"model": Failure}, "5XX": {"model": Failure}}


class ApiError(HTTPException):
    """What the caller is told. FastAPI lets an HTTPException pass where a body cannot be read.

    Args:
        status: of HTTP.
        message: a sentence with the value and the limit.
        param: the field that it is about.
        code: a word for programs.
        headers: to send along.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        kind = TYPES.get(status, "invalid_request_error")
        self.body = ErrorObject(message=written(message), type=kind, param=param and written(param), code=code)

    def as_dict(self) -> dict[str, dict[str, str | None]]:
        """The body of the answer."""
        return {"error": self.body.model_dump()}

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.as_dict(), self.status_code, self.headers)


def written(text: str) -> str:
    """Text that can be sent: in JSON there may be half a character, such as \\ud800, which no encoding has."""
    return text.encode("utf-8", "replace").decode()


def invalid(message: str, param: str | None, code: str | None = "invalid_value") -> ApiError:
    """A request that breaks a rule."""
    return ApiError(400, message, param=param, code=code)


def unsupported(param: str, why: str) -> ApiError:
    """A wish that cannot be fulfilled and would change the answer."""
    return ApiError(400, f"{param}: {why}", param=param, code="unsupported_parameter")


def try_again(message: str, after_s: float, code: str) -> ApiError:
    """A refusal that is over in `after_s` seconds."""
    headers = {"retry-after-ms": str(math.ceil(after_s * 1000)), "retry-after": str(max(1, math.ceil(after_s)))}
    return ApiError(429, message, code=code, headers=headers)


def of_the_server(error: tritone_client.Error, params: Mapping[str, str]) -> ApiError:
    """What a caller is told of an error of the server.

    Args:
        params: the caller's fields by the server's own names; one that ends in [] has its items numbered in the
            server's sentences as the caller has them.
    """
    message = str(error)
    match error:
        case tritone_client.InvalidInput():
            return invalid(message, _param(message, params))
        case tritone_client.NotServed():
            return invalid(message, _param(message, params) or "model", "not_served")
        case tritone_client.Overloaded():
            return try_again(message, error.retry_after_s or WAIT_S, "server_overloaded")
        case tritone_client.ModelNotReady():
            after = {"retry-after": str(max(1, math.ceil(error.retry_after_s or WAIT_S)))}
            return ApiError(503, message, code="model_not_ready", headers=after)
        case tritone_client.ServerUnavailable():
            again = NO_RETRY if error.was_sent else {}
            return ApiError(503, message, code="server_unavailable", headers=again)
        case tritone_client.Cancelled():
            return ApiError(503, message, code="server_unavailable")
        case tritone_client.RequestTimedOut():
            return ApiError(500, message, code="timeout", headers=NO_RETRY)
    return ApiError(500, message, code="inference_failed", headers=NO_RETRY)


def _param(message: str, params: Mapping[str, str]) -> str | None:
    """The field that a sentence of the server begins with."""
    found = _FIRST_WORD.match(message)
    if found is None or (name := params.get(found[1])) is None:
        return None
    field = name.removesuffix("[]")
    return f"{field}[{found[2]}]" if found[2] and field != name else field


@contextlib.contextmanager
def named(params: Mapping[str, str]) -> Iterator[None]:
    """Turns errors of the server into those of the API."""
    try:
        yield
    except tritone_client.Error as error:
        raise of_the_server(error, params) from error


def unknown(error: BaseException, request_id: str) -> ApiError:
    """A defect of the gateway. Its message may hold words of the user, so only its kind and place are logged."""
    places = traceback.extract_tb(error.__traceback__)[-MOST_PLACES:]
    where = " < ".join(f"{place.filename}:{place.lineno}" for place in reversed(places))
    log.error("request %s: %s at %s", request_id, type(error).__name__, where)
    return ApiError(500, f"the gateway failed; its log says where, under {request_id}", code="internal_error")


def of_validation(errors: list[dict[str, object]]) -> ApiError:
    """The first fault that pydantic found, with the field's name as the caller wrote it."""
    fault = errors[0]
    place = fault["loc"]
    assert isinstance(place, tuple)
    path = list(place[1:] if place[:1] in (("body",), ("query",)) else place)
    if fault["type"] == "json_invalid":
        return invalid(f"the body is not JSON: {fault['msg']}", None, "invalid_json")
    param = str(path[0]) if path else None
    if len(path) > 1 and isinstance(path[1], int):
        param = f"{param}[{path[1]}]"
    if not path:
        return invalid("the body must be a JSON object, sent with the content type application/json", None)
    if fault["type"] == "missing":
        return invalid(f"'{'.'.join(map(str, path))}' is missing", param, "missing_required_parameter")
    return invalid(f"{'.'.join(map(str, path))}: {fault['msg']}", param)


def install(app: FastAPI) -> None:
    """Let the app answer every error in this shape."""

    async def api_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)
        return error.response()

    async def server_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, tritone_client.Error)
        return of_the_server(error, {}).response()

    async def invalid_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return of_validation(list(error.errors())).response()

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        said = f"there is no {request.method} {request.url.path}" if error.status_code in (404, 405) else error.detail
        code = CODES.get(error.status_code)
        return ApiError(error.status_code, said, code=code, headers=error.headers).response()

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(tritone_client.Error, server_error)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(HTTPException, http_error)
