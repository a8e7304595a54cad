"""One response: what the model says to a conversation, clause by clause, and how it ends."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

from openai.types import realtime as types
from openai.types.realtime.realtime_response import Audio, AudioOutput
from openai.types.realtime.realtime_response_status import Error, RealtimeResponseStatus
from starlette.websockets import WebSocketDisconnect

import tritone_client
from tritone_client import AnswerChunk, ReplyChunk
from tritone_gateway.context import Context
from tritone_gateway.errors import ApiError, invalid, of_the_server, unknown
from tritone_gateway.media.inline import base64_of
from tritone_gateway.media.voices import ours
from tritone_gateway.realtime.configuration import Wish
from tritone_gateway.realtime.conversation import Conversation, Item, Spoken, Text, understood
from tritone_gateway.realtime.events import Outgoing, new_id
from tritone_gateway.realtime.memory import Question, question_of, remembered, shorter
from tritone_gateway.realtime.sound import RATES, WIDTHS, Encoder, seconds_of
from tritone_gateway.realtime.usage import Usage

Reason = Literal["turn_detected", "client_cancelled"]
HELD_BACK_S = 0.1  # of sound, at most, by the resampler
# What the server calls it, and the client of a session.
FIELDS = {
    **dict.fromkeys(("text_input", "image_bytes", "messages", "audio_bytes", "text"), "conversation"),
    **{"max_tokens": "max_output_tokens", "adapter": "model"},
    **{"voice": "audio.output.voice", "speed": "audio.output.speed"},
}
PIECE_S = 0.4  # of sound in one event: many clients take no message of more than a megabyte


class Answer:
    """A response on its way. `run` is its task; cancelling that task ends it in good order.

    Args:
        conversation: that it becomes a part of.
        items: that it answers.
        wish: what it shall be.
        conversation_id: as events name it.
        max_characters: of turns that the model is told.
    """

    def __init__(
        self,
        conversation: Conversation,
        items: Sequence[Item],
        wish: Wish,
        outgoing: Outgoing,
        here: Context,
        conversation_id: str,
        max_characters: int,
    ) -> None:
        self.id = new_id("resp")
        self.reason: Reason = "client_cancelled"  # should it be cancelled
        self.item: Item | None = None
        self.usage = Usage()
        self.is_told = asyncio.Event()  # its beginning is, so that it may be cancelled
        self.is_ending = False  # it is too late to cancel it
        self._conversation, self._items, self._wish = conversation, list(items), wish
        self._outgoing, self._here = outgoing, here
        self._conversation_id, self._max_characters = conversation_id, max_characters
        self._encoder = Encoder(wish.format)

    async def run(self) -> None:
        """Answer. What goes wrong is told as the response's end; only the caller's leaving is raised."""
        details = RealtimeResponseStatus(type="completed")
        try:
            await self._announce()
            cut_off = await self._speak()
            if cut_off:
                details = RealtimeResponseStatus(type="incomplete", reason="max_output_tokens")
        except asyncio.CancelledError:
            details = RealtimeResponseStatus(type="cancelled", reason=self.reason)
        except ApiError as error:
            details = _failed(error)
        except WebSocketDisconnect:
            return
        except Exception as error:
            details = _failed(unknown(error, self._here.request_id))
        self.is_ending = True
        with contextlib.suppress(WebSocketDisconnect):
            await self._end(details)

    async def _announce(self) -> None:
        try:
            await self._tell(types.ResponseCreatedEvent, response=self._told("in_progress"))
        finally:
            self.is_told.set()
        await self._limits()

    async def _speak(self) -> bool:
        """Returns whether the answer was cut off at its longest."""
        await self._here.caller.take("requests")
        await self._here.caller.check("tokens")
        if self._wish.is_aloud:
            await self._here.caller.check("audio_seconds")
        await understood(self._items)
        if self._wish.truncates:
            self._items = remembered(self._items, self._max_characters)
        if (asked := self._question()) is None:
            return False
        reason = None
        async with aclosing(self._pieces(asked)) as pieces:
            async for piece in pieces:
                reason = piece.finish_reason or reason
                await self._add(piece)
        return reason == "length"

    def _question(self) -> Question | None:
        """Raises: ApiError: 400: there is nothing to answer."""
        wish = self._wish
        asked = question_of(self._items, wish.instructions)
        if asked is None and wish.own_instructions:  # such as "Greet the user." before he has said anything
            return question_of([*self._items, Item("user", [Text("input_text", wish.instructions)])], "")
        if asked is None and not any(item.role == "user" for item in self._items[-1:]):
            raise invalid("there is nothing to answer: no words of the user's stand behind the last answer", None)
        return asked

    async def _pieces(self, asked: Question) -> AsyncGenerator[ReplyChunk | AnswerChunk, None]:
        """The answer as it comes. What is too long for the model is asked again without its oldest part."""
        begun = False
        while True:
            try:
                async with aclosing(self._stream(asked)) as pieces:
                    async for piece in pieces:
                        begun = begun or bool(piece.text)
                        yield piece
                return
            except tritone_client.InvalidInput as error:
                rest = shorter(self._items) if self._wish.truncates and not begun else None
                question = question_of(rest, self._wish.instructions) if rest else None
                if rest is None or question is None:
                    raise of_the_server(error, FIELDS) from error
                self._items, asked = rest, question
            except tritone_client.Error as error:
                raise of_the_server(error, FIELDS) from error

    def _stream(self, asked: Question) -> AsyncGenerator[Any, None]:
        """The server's pieces. Raises: tritone_client.Error, with the first of them."""
        here, wish = self._here, self._wish
        adapter = here.catalogue.named(wish.model, "llava").adapter
        shown: Any = {"images": asked.images or None, "messages": asked.messages or None, **here.delivery}
        options: Any = {"max_tokens": wish.max_tokens, "adapter": adapter, **shown}
        if not wish.is_aloud:
            return here.patient.ask_stream(asked.text, **options)
        voice = ours(wish.voice, here.settings.voices)
        return here.patient.converse_stream(text=asked.text, voice=voice, speed=wish.speed, **options)

    async def _add(self, piece: ReplyChunk | AnswerChunk) -> None:
        self.usage.count(piece)
        if not piece.text and getattr(piece, "speech", None) is None:
            return
        item = self.item or await self._begin()
        part = item.parts[0]
        if isinstance(part, Text):
            part.text += piece.text
            await self._tell_part(types.ResponseTextDeltaEvent, delta=piece.text)
        elif isinstance(part, Spoken) and isinstance(piece, ReplyChunk):
            await self._add_clause(part, piece)

    async def _add_clause(self, part: Spoken, clause: ReplyChunk) -> None:
        """First its words, then its sound."""
        begin = part.spoken_s
        words = [
            {"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in part.add(clause)
        ]
        if clause.text:
            more: Any = {"words": words, "audio_start": round(begin, 3)}
            await self._tell_part(types.ResponseAudioTranscriptDeltaEvent, delta=clause.text, **more)
        if clause.speech is not None:
            self.usage.audio_s += clause.speech.duration
            await self._here.used_audio(clause.speech.duration, "spoken")
            await self._send(part, self._encoder.feed(clause.speech.audio, clause.speech.sampling_rate))

    async def _send(self, part: Spoken, sound: bytes) -> None:
        size = round(PIECE_S * RATES[part.format]) * WIDTHS[part.format]
        for place in range(0, len(sound), size):
            piece = sound[place : place + size]
            await self._tell_part(types.ResponseAudioDeltaEvent, delta=base64_of(piece))
            part.sound += piece
            part.size += len(piece)

    async def _begin(self) -> Item:
        aloud, before = self._wish.is_aloud, None
        part = Spoken(self._wish.format) if aloud else Text("output_text", "")
        self.item = item = Item("assistant", [part], status="in_progress")
        await self._tell(
            types.ResponseOutputItemAddedEvent, response_id=self.id, output_index=0, item=_without_content(item)
        )
        if self._wish.in_conversation:
            for gone in self._conversation.make_room():
                await self._tell(types.ConversationItemDeletedEvent, item_id=gone)
            before = self._conversation.insert(item, None)
            await self._tell(types.ConversationItemAdded, item=_without_content(item), previous_item_id=before)
        await self._tell_part(types.ResponseContentPartAddedEvent, part=self._part())
        return item

    async def _end(self, details: RealtimeResponseStatus) -> None:
        if self.item is not None:
            if details.type == "cancelled":
                _cut_unsent(self.item)
            await self._end_item(self.item, "completed" if details.type == "completed" else "incomplete")
        await self._here.used_tokens(self.usage.read, self.usage.written)
        response = self._told(details.type or "failed", details)
        await self._tell(types.ResponseDoneEvent, response=response)

    async def _end_item(self, item: Item, status: Literal["completed", "incomplete"]) -> None:
        item.status, part = status, item.parts[0]
        if isinstance(part, Spoken):
            if status == "completed":
                await self._send(part, self._encoder.end())
            await self._tell_part(types.ResponseAudioDoneEvent)
            await self._tell_part(types.ResponseAudioTranscriptDoneEvent, transcript=part.text)
        else:
            await self._tell_part(types.ResponseTextDoneEvent, text=part.text)
        await self._tell_part(types.ResponseContentPartDoneEvent, part=self._part())
        if self._wish.in_conversation:
            items = self._conversation.items
            place = items.index(item) if item in items else 0
            before = items[place - 1].id if place else None
            await self._tell(types.ConversationItemDone, item=item.told(), previous_item_id=before)
        await self._tell(types.ResponseOutputItemDoneEvent, response_id=self.id, output_index=0, item=item.told())
        self._conversation.forget_sound()

    def _part(self) -> dict[str, Any]:
        assert self.item is not None
        part = self.item.parts[0]
        return (
            {"type": "audio", "transcript": part.text} if self._wish.is_aloud else {"type": "text", "text": part.text}
        )

    def _told(self, status: Any, details: RealtimeResponseStatus | None = None) -> types.RealtimeResponse:
        """The response as it is now."""
        wish = self._wish
        output = AudioOutput.model_validate({"format": {"type": wish.format}, "voice": wish.voice})
        modalities: Any = list(wish.modalities)
        longest: Any = wish.max_output_tokens
        return types.RealtimeResponse(
            id=self.id,
            object="realtime.response",
            status=status,
            status_details=details if status != "completed" else None,
            output=[self.item.told()] if self.item is not None else [],
            conversation_id=self._conversation_id if wish.in_conversation else None,
            output_modalities=modalities,
            max_output_tokens=longest,
            audio=Audio(output=output),
            usage=self.usage.told() if details is not None else None,
            metadata=wish.metadata,
        )

    async def _limits(self) -> None:
        limits = await self._here.caller.left()
        if limits:
            await self._tell(types.RateLimitsUpdatedEvent, rate_limits=limits)

    async def _tell_part(self, kind: Any, **fields: Any) -> None:
        assert self.item is not None
        place = {"response_id": self.id, "item_id": self.item.id, "output_index": 0, "content_index": 0}
        await self._tell(kind, **place, **fields)

    async def _tell(self, kind: Any, **fields: Any) -> None:
        await self._outgoing.tell(kind, **fields)


def _without_content(item: Item) -> Any:
    """The item as it is when it is announced."""
    told = item.told()
    told.content = []
    return told


def _cut_unsent(item: Item) -> None:
    """Nobody can have heard what was not sent."""
    part = item.parts[0]
    if isinstance(part, Spoken) and part.spoken_s - seconds_of(part.size, part.format) > HELD_BACK_S:
        part.cut(seconds_of(part.size, part.format))


def _failed(error: ApiError) -> RealtimeResponseStatus:
    told = Error(type=error.body.type, code=error.body.code, message=error.body.message)
    return RealtimeResponseStatus(type="failed", error=told)
