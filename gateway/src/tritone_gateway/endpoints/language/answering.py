"""Asking the language model in writing, for every address that does."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from tritone_client import Answer, AnswerChunk
from tritone_gateway.context import Context
from tritone_gateway.endpoints.language.messages import Conversation, Params
from tritone_gateway.errors import named

Options = dict[str, Any]  # those of the client's `ask`


async def ask(conversation: Conversation, options: Options, params: Params, here: Context) -> Answer:
    """A whole answer."""
    with named(params):
        answer = await here.client.ask(conversation.question.text, **shown(conversation), **options, **here.delivery)
    await here.used_tokens(answer.prompt_tokens, answer.completion_tokens)
    return answer


async def ask_stream(
    conversation: Conversation, options: Options, params: Params, here: Context
) -> AsyncGenerator[AnswerChunk, None]:
    """The same, piece by piece; what was read and written is counted also where the caller leaves."""
    pieces = here.client.ask_stream(conversation.question.text, **shown(conversation), **options, **here.delivery)
    last: AnswerChunk | None = None
    try:
        async with aclosing(pieces):
            with named(params):
                async for last in pieces:
                    yield last
    finally:
        if last is not None:
            await here.used_tokens(last.prompt_tokens, last.completion_tokens)


def shown(conversation: Conversation) -> Options:
    """The client's arguments for what was shown and said before."""
    return {"images": conversation.images or None, "messages": conversation.messages or None}
