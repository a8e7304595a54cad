"""/v1/responses: the language model in writing, without memory between requests."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter
from fastapi import Response as HttpResponse
from fastapi.responses import JSONResponse
from openai.types import responses as types
from openai.types.responses.response import IncompleteDetails, Response
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails, ResponseUsage

from tritone_gateway.context import Context, Here
from tritone_gateway.description import EVENTS, answers
from tritone_gateway.endpoints.language.answering import ask, ask_stream
from tritone_gateway.endpoints.language.messages import Conversation, heard
from tritone_gateway.endpoints.language.responses_request import ResponsesRequest
from tritone_gateway.errors import ApiError
from tritone_gateway.streaming import EventStream, begun, event

router = APIRouter()
PLACE = {"output_index": 0, "content_index": 0}
# Fields that every response has by the Open Responses specification, and that mean nothing here.
UNUSED: dict[str, Any] = {
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), 0.0),
    **dict.fromkeys(("reasoning", "max_tool_calls", "safety_identifier", "prompt_cache_key")),
    **dict.fromkeys(("store", "background"), False),
    "service_tier": "default",
}


@router.post("/v1/responses", responses=answers(EVENTS, model=Response))
async def create(request: ResponsesRequest, here: Here) -> HttpResponse:
    """The next turn of a conversation."""
    request.check()
    adapter = here.catalogue.named(request.model, "llava").adapter
    await here.caller.check("tokens")
    conversation = request.conversation
    await here.take_pictures(len(conversation.images), "shown")
    conversation = await heard(conversation, request.params, here)
    if request.stream:
        events = await begun(_events(request, adapter, conversation, here))
        return EventStream(events, here.request_id, here.settings.keep_alive_s)
    answer = await ask(conversation, request.options(adapter), request.params, here)
    told = Told(request)
    return JSONResponse(told.finished(answer.text, answer, answer.logprobs).to_dict())


class Told:
    """One response, as it grows."""

    def __init__(self, request: ResponsesRequest) -> None:
        self.id, self.item_id = f"resp_{uuid.uuid4().hex}", f"msg_{uuid.uuid4().hex}"
        self.created_at = int(time.time())
        self._request, self._number = request, -1

    def event(self, kind: Any, **rest: Any) -> bytes:
        """The next event, of an `openai.types.responses` class; its name is the class's own."""
        self._number += 1
        name = kind.model_fields["type"].annotation.__args__[0]
        return event(kind(type=name, sequence_number=self._number, **rest), name)

    def response(self, status: Any, **rest: Any) -> Response:
        """The response as it is now."""
        asked = self._request
        return Response(
            **{"output": [], "error": None, "incomplete_details": None, "usage": None, "completed_at": None, **rest},
            id=self.id,
            object="response",
            created_at=self.created_at,
            status=status,
            model=asked.model,
            instructions=asked.instructions,
            max_output_tokens=asked.max_output_tokens,
            metadata=asked.labels,
            parallel_tool_calls=False,
            previous_response_id=None,
            temperature=asked.temperature or 0.0,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            tool_choice="none",
            tools=[],
            text=types.ResponseTextConfig.model_validate(
                {"format": asked.text.format.model_dump() if asked.text.format else {"type": "text"}}
            ),
            truncation="disabled",
            **UNUSED,
            top_logprobs=asked.top_logprobs or 0,
        )

    def finished(self, text: str, answer: Any, logprobs: Any = None) -> Response:
        """The response at its end, which may have come before the text's."""
        read, written, cut = answer.prompt_tokens, answer.completion_tokens, answer.finish_reason == "length"
        usage = ResponseUsage(
            input_tokens=read,
            input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
            output_tokens=written,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
            total_tokens=read + written,
        )
        return self.response(
            "incomplete" if cut else "completed",
            output=[self.message(text, "incomplete" if cut else "completed", logprobs)],
            incomplete_details=IncompleteDetails(reason="max_output_tokens") if cut else None,
            usage=usage,
            completed_at=int(time.time()),
        )

    def message(self, text: str | None, status: Any, logprobs: Any = None) -> types.ResponseOutputMessage:
        """The one item of the output; without its content while there is no text."""
        content: list[Any] = [] if text is None else [part_of(text, logprobs)]
        return types.ResponseOutputMessage(
            id=self.item_id, type="message", role="assistant", status=status, content=content
        )


def part_of(text: str, logprobs: Any = None) -> types.ResponseOutputText:
    """The words of an answer."""
    return types.ResponseOutputText.model_validate(
        {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs or []}
    )


async def _events(
    request: ResponsesRequest, adapter: str | None, conversation: Conversation, here: Context
) -> AsyncGenerator[bytes, None]:
    """OpenAI's events in OpenAI's order; the first ones wait for the first words, so that a refusal has its status."""
    told, text, last = Told(request), "", None
    logprobs: list[Any] = []
    item = {**PLACE, "item_id": told.item_id}
    try:
        async with aclosing(ask_stream(conversation, request.options(adapter), request.params, here)) as pieces:
            async for piece in pieces:
                if last is None:
                    for each in _opening(told, item):
                        yield each
                last, text = piece, text + piece.text
                new = list(piece.logprobs)
                logprobs += new
                if piece.text:
                    yield told.event(types.ResponseTextDeltaEvent, **item, delta=piece.text, logprobs=new)
    except ApiError as error:
        if last is not None:
            failure: Any = {"code": "server_error", "message": error.body.message}
            yield told.event(types.ResponseFailedEvent, response=told.response("failed", error=failure))
        raise
    for each in _closing(told, item, text, last, logprobs):
        yield each


def _opening(told: Told, item: dict[str, Any]) -> list[bytes]:
    return [
        told.event(types.ResponseCreatedEvent, response=told.response("in_progress")),
        told.event(types.ResponseInProgressEvent, response=told.response("in_progress")),
        told.event(types.ResponseOutputItemAddedEvent, output_index=0, item=told.message(None, "in_progress")),
        told.event(types.ResponseContentPartAddedEvent, **item, part=part_of("")),
    ]


def _closing(told: Told, item: dict[str, Any], text: str, last: Any, logprobs: list[Any]) -> list[bytes]:
    response = told.finished(text, last, logprobs)
    ended = types.ResponseIncompleteEvent if response.status == "incomplete" else types.ResponseCompletedEvent
    return [
        told.event(types.ResponseTextDoneEvent, **item, text=text, logprobs=logprobs),
        told.event(types.ResponseContentPartDoneEvent, **item, part=part_of(text, logprobs)),
        told.event(types.ResponseOutputItemDoneEvent, output_index=0, item=response.output[0]),
        told.event(ended, response=response),
    ]
