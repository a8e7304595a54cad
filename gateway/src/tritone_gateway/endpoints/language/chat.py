"""/v1/chat/completions: questions, pictures and sounds, answered in writing or aloud."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import ChoiceDelta

from tritone_client import Answer, AnswerChunk
from tritone_gateway.context import Context, Here
from tritone_gateway.description import EVENTS, answers
from tritone_gateway.endpoints.language.aloud import answer_aloud, stream_aloud
from tritone_gateway.endpoints.language.answering import Options, ask, ask_stream
from tritone_gateway.endpoints.language.chat_request import ChatRequest
from tritone_gateway.endpoints.language.frame import Frame, usage_of
from tritone_gateway.endpoints.language.messages import Conversation, Params, conversation_of, heard
from tritone_gateway.streaming import DONE, EventStream, begun

router = APIRouter()


@router.post("/v1/chat/completions", responses=answers(EVENTS, model=ChatCompletion))
async def create(request: ChatRequest, here: Here) -> Response:
    """The next turn of a conversation."""
    request.check()
    model = here.catalogue.named(request.model, "llava")
    await here.caller.check("tokens")
    conversation = conversation_of(request.messages)
    await here.take_pictures(len(conversation.images), "shown")
    frame = Frame(request.model, request.stream_options.include_usage)
    options = request.sampling(model)
    if request.is_spoken:
        await here.caller.check("audio_seconds")
        conversation = await heard(conversation, request.params, here, leave_question=True)
        if request.stream:
            return await _stream(stream_aloud(conversation, options, request, frame, here), here)
        return _json(await answer_aloud(conversation, options, request, frame, here))
    conversation = await heard(conversation, request.params, here)
    options |= request.writing()
    if request.stream:
        return await _stream(_stream_written(conversation, options, request.params, frame, here), here)
    return _json(await _answer_written(conversation, options, request.params, frame, here))


async def _answer_written(
    conversation: Conversation, options: Options, params: Params, frame: Frame, here: Context
) -> ChatCompletion:
    answer = await ask(conversation, options, params, here)
    message = ChatCompletionMessage(role="assistant", content=answer.text, refusal=None)
    reason: Any = answer.finish_reason
    choice = Choice(index=0, message=message, finish_reason=reason, logprobs=_logprobs(answer))
    return frame.completion(choice, usage_of(answer))


async def _stream_written(
    conversation: Conversation, options: Options, params: Params, frame: Frame, here: Context
) -> AsyncGenerator[bytes, None]:
    last = None
    async with aclosing(ask_stream(conversation, options, params, here)) as pieces:
        async for piece in pieces:
            if last is None:
                yield frame.chunk(ChoiceDelta(role="assistant", content=""))
            last = piece
            if piece.text or piece.logprobs:
                yield frame.chunk(ChoiceDelta(content=piece.text), logprobs=_logprobs(piece))
    assert last is not None  # a stream without an end is an error of the client's
    yield frame.chunk(ChoiceDelta(), last.finish_reason)
    for each in frame.usage(usage_of(last)):
        yield each
    yield DONE


async def _stream(pieces: AsyncGenerator[bytes, None], here: Context) -> Response:
    return EventStream(await begun(pieces), here.request_id, here.settings.keep_alive_s)


def _json(completion: ChatCompletion) -> Response:
    return JSONResponse(completion.to_dict())


def _logprobs(answer: Answer | AnswerChunk) -> Any:
    """For the type of a whole answer, and for that of a piece, which is another of the same name."""
    return {"content": answer.logprobs, "refusal": None} if answer.logprobs else None
