"""What every request's body has in common: what is ignored, and what is refused by name."""

from typing import Any, ClassVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from starlette.datastructures import UploadFile

from tritone_gateway.errors import ApiError, invalid, of_validation, unsupported

# What cannot change an answer.
HARMLESS = frozenset(
    {
        *("user", "metadata", "safety_identifier", "service_tier"),
        *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    }
)
MOST_PARTS = 64  # of a form


class ApiRequest(BaseModel):
    """A body. Null is as good as nothing; of fields that are not declared, those that matter are refused.

    A subclass says which are `harmless`, and which have `neutral` values; `why` are reasons for refusing others.
    """

    model_config = ConfigDict(extra="allow", frozen=True, arbitrary_types_allowed=True)
    harmless: ClassVar[frozenset[str]] = HARMLESS
    neutral: ClassVar[dict[str, tuple[Any, ...]]] = {}
    why: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {name: value for name, value in values.items() if value is not None}
        return values

    @model_validator(mode="after")
    def _nothing_that_matters(self) -> "ApiRequest":
        for name, value in (self.model_extra or {}).items():
            if name in self.harmless or any(value == same for same in self.neutral.get(name, ())):
                continue
            if name in self.neutral or name in self.why:
                raise unsupported(name, self.why.get(name, "this server cannot honour it"))
            raise ApiError(400, f"there is no field '{name[:100]}'", param=name[:100], code="unknown_parameter")
        return self


async def form_of(request: Request, kind: type[ApiRequest], lists: tuple[str, ...] = ()) -> Any:
    """The body of an upload; fields whose names are in `lists`, or that end in [], are lists.

    Raises: ApiError: 400.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise invalid("the body must be an upload: multipart/form-data", None, "invalid_content_type")
    values: dict[str, Any] = {}
    async with request.form(max_files=MOST_PARTS, max_fields=MOST_PARTS) as form:
        for key, value in form.multi_items():
            name = key.removesuffix("[]")
            content = Upload(value.filename or "", await value.read()) if isinstance(value, UploadFile) else value
            if name in lists or key.endswith("[]"):
                values.setdefault(name, []).append(content)
            elif name in values:
                raise invalid(f"'{name}' is given twice", name)
            else:
                values[name] = content
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise of_validation([dict(fault) for fault in error.errors()]) from None


class Upload:
    """A file of a form."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.content = name, content

    @staticmethod
    def of(value: Any, field: str) -> bytes:
        """The bytes of the file that a field holds.

        Raises: ApiError: 400: it is no file, or an empty one.
        """
        if not isinstance(value, Upload):
            raise invalid(f"'{field}' must be a file", field)
        if not value.content:
            raise invalid(f"'{field}' is an empty file", field)
        return value.content


def form_schema(kind: type[ApiRequest]) -> dict[str, Any]:
    """What an endpoint that reads a form by `form_of` says of it in the OpenAPI document."""
    schema = kind.model_json_schema()
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
