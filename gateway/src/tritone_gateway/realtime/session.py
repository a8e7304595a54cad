"""A session: what each event of the caller's does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from openai.types import realtime as types
from openai.types.realtime.realtime_server_event import ConversationItemRetrieved
from starlette.websockets import WebSocketDisconnect

from tritone_gateway.context import Context
from tritone_gateway.errors import ApiError, invalid, unknown, unsupported
from tritone_gateway.media.inline import of_base64
from tritone_gateway.realtime.answer import Answer, Reason
from tritone_gateway.realtime.configuration import Configuration, Wish, wish_of
from tritone_gateway.realtime.conversation import Conversation, Item, Said
from tritone_gateway.realtime.events import Outgoing, loaded, new_id, parsed
from tritone_gateway.realtime.items import item_of
from tritone_gateway.realtime.listening.ear import Ear, Turn, no_smart_turn
from tritone_gateway.realtime.listening.hearing import Hearing
from tritone_gateway.realtime.listening.scribe import Scribe
from tritone_gateway.realtime.listening.smart_turn import folder_of
from tritone_gateway.realtime.sound import HEARD_RATE

Samples = npt.NDArray[np.int16]
LEAST_S = 0.1  # of sound that can be committed, as OpenAI has it


class Session:
    """One caller's conversation.

    Args:
        configuration: as it begins.
        outgoing: takes events.
        here: the connection's surroundings.
    """

    def __init__(self, configuration: Configuration, outgoing: Outgoing, here: Context) -> None:
        limits = here.settings.realtime
        self.id, self.conversation_id = new_id("sess"), new_id("conv")
        self.expires_at = int(time.time() + limits.session_s)
        self._configuration, self._outgoing, self._here, self._limits = configuration, outgoing, here, limits
        self.conversation = Conversation(limits.max_items, limits.max_kept_s, limits.max_picture_bytes)
        self._scribe = Scribe(configuration, outgoing, here)
        self._ear = Ear(self, limits.max_buffer_s, folder_of(limits.smart_turn))
        self._ear.detection = configuration.detection
        self._answer: tuple[Answer, asyncio.Task[None]] | None = None
        self._next: Wish | None = None  # wanted once the present answer has ended
        self._waiting: asyncio.Task[None] | None = None  # for somebody to break the silence
        self._handlers: dict[str, Callable[[Any], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "output_audio_buffer.clear": self._no_webrtc,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate_item,
            "conversation.item.delete": self._delete_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    async def begin(self) -> None:
        """Say that it has begun."""
        await self._outgoing.tell(types.SessionCreatedEvent, session=self._told())

    async def handle(self, text: str) -> None:
        """Do what an event asks for. What is wrong with it is told, and the session lives on."""
        event_id = None
        try:
            event = loaded(text)
            given = event.get("event_id")
            event_id = given if isinstance(given, str) else None
            found = parsed(event)
            await self._handlers[found.type](found)
        except ApiError as error:
            await self._outgoing.fault(error, event_id)
        except WebSocketDisconnect:
            raise
        except Exception as error:
            await self._outgoing.fault(unknown(error, self._here.request_id), event_id)

    async def end(self) -> None:
        """Stop everything that is still going on."""
        await self._ear.close()
        tasks = [task for task in (self._answer and self._answer[1], self._waiting) if task is not None]
        self._answer = self._next = None  # nothing follows the answer that ends here
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._scribe.end()
        self.conversation.items.clear()  # at once, and not when Python looks for what is in circles

    # ── the session ──

    async def _update(self, event: types.SessionUpdateEvent) -> None:
        change = event.session.to_dict()
        self._configuration.update(change, may_change_kind=not self.conversation.items)
        self._ear.detection = self._configuration.detection
        if self._ear.detection is None:
            await self._ear.stop()
        if not getattr(self._ear.detection, "idle_timeout_ms", None):
            self._stop_waiting()
        await self._outgoing.tell(types.SessionUpdatedEvent, session=self._told())

    def _told(self) -> Any:
        return self._configuration.told(self.id, self.expires_at)

    # ── what is heard ──

    async def _append(self, event: types.InputAudioBufferAppendEvent) -> None:
        await self._ear.append(of_base64(event.audio, "audio"), self._configuration.format)

    async def _commit(self, event: types.InputAudioBufferCommitEvent) -> None:
        samples, turn = self._ear.take()
        if len(samples) < LEAST_S * HEARD_RATE:
            if turn is not None:
                await turn.hearing.stop()
            held = 1000 * len(samples) / HEARD_RATE
            message = (
                f"the buffer holds {held:.0f} ms of sound, it must be {1000 * LEAST_S:.0f} or more to be committed"
            )
            raise invalid(message, None, "input_audio_buffer_commit_empty")
        await self._committed(turn.item_id if turn else new_id("item"), samples, turn)

    async def _clear(self, event: types.InputAudioBufferClearEvent) -> None:
        await self._ear.stop()
        self._ear.take()
        await self._outgoing.tell(types.InputAudioBufferClearedEvent)

    async def _no_webrtc(self, event: types.OutputAudioBufferClearEvent) -> None:
        said = (
            "there is such a buffer with WebRTC alone; here the caller plays the sound: stop it, and truncate the item"
        )
        raise unsupported("type", said)

    async def speech_started(self, item_id: str, start_ms: int) -> Hearing:
        """See Listener."""
        self._stop_waiting()
        told = {"audio_start_ms": start_ms, "item_id": item_id}
        await self._outgoing.tell(types.InputAudioBufferSpeechStartedEvent, **told)
        detection = self._configuration.detection
        if detection is not None and detection.interrupt_response is not False:
            await self._interrupt("turn_detected")
        return self._scribe.hearing(item_id)

    async def speech_stopped(self, turn: Turn, samples: Samples, end_ms: int) -> None:
        """See Listener."""
        told = {"audio_end_ms": end_ms, "item_id": turn.item_id}
        await self._outgoing.tell(types.InputAudioBufferSpeechStoppedEvent, **told)
        await self._committed(turn.item_id, samples, turn)
        detection = self._configuration.detection
        if self._configuration.is_realtime and detection is not None and detection.create_response is not False:
            self._respond(wish_of(self._configuration.values, None))

    async def _committed(self, item_id: str, samples: Samples, turn: Turn | None) -> None:
        await self._here.caller.check("audio_seconds")
        speech_end = turn.speech_end - turn.begin if turn else len(samples)
        words = self._scribe.write(item_id, samples, speech_end, turn.hearing if turn else None)
        before = self.conversation.last_id
        told = {"item_id": item_id, "previous_item_id": before}
        await self._outgoing.tell(types.InputAudioBufferCommittedEvent, **told)
        await self._add(
            Item("user", [Said(samples, self._configuration.format, words)], id=item_id), None, make_room=True
        )

    # ── the conversation ──

    async def _create_item(self, event: types.ConversationItemCreateEvent) -> None:
        item = await self._item(event.item, "item")
        await self._add(item, event.previous_item_id)

    async def _item(self, given: Any, place: str) -> Item:
        item = item_of(given, place, self._configuration.format)
        if any(isinstance(part, Said) for part in item.parts):
            await self._here.caller.check("audio_seconds")
        await self._here.take_pictures(len(item.pictures), "shown")
        return item

    async def _add(self, item: Item, after: str | None, make_room: bool = False) -> None:
        if make_room:
            for gone in self.conversation.make_room():
                await self._outgoing.tell(types.ConversationItemDeletedEvent, item_id=gone)
        self.conversation.place_of(item, after)  # what is refused is not listened to
        self._hear(item)
        before = self.conversation.insert(item, after)
        told = {"item": item.told(), "previous_item_id": before}
        await self._outgoing.tell(types.ConversationItemAdded, **told)
        await self._outgoing.tell(types.ConversationItemDone, **told)

    def _hear(self, item: Item) -> None:
        """Listen to what nobody has listened to yet."""
        for part in item.parts:
            if isinstance(part, Said) and part.words is None:
                part.words = self._scribe.write(item.id, part.samples, len(part.samples), None)

    async def _retrieve_item(self, event: types.ConversationItemRetrieveEvent) -> None:
        item = self.conversation.find(event.item_id)
        await self._outgoing.tell(ConversationItemRetrieved, item=item.told(with_sound=True))

    async def _truncate_item(self, event: types.ConversationItemTruncateEvent) -> None:
        item = self.conversation.find(event.item_id)
        self.conversation.to_cut(event.item_id, event.content_index, event.audio_end_ms)  # or the answer goes on
        if self._answer is not None and self._answer[0].item is item:
            await self._interrupt("client_cancelled")
        self.conversation.truncate(event.item_id, event.content_index, event.audio_end_ms)
        place = {"item_id": item.id, "content_index": event.content_index, "audio_end_ms": event.audio_end_ms}
        await self._outgoing.tell(types.ConversationItemTruncatedEvent, **place)

    async def _delete_item(self, event: types.ConversationItemDeleteEvent) -> None:
        item = self.conversation.find(event.item_id)
        if self._answer is not None and self._answer[0].item is item:
            await self._interrupt("client_cancelled")
        self.conversation.delete(event.item_id)
        await self._outgoing.tell(types.ConversationItemDeletedEvent, item_id=event.item_id)

    # ── answers ──

    async def _create_response(self, event: types.ResponseCreateEvent) -> None:
        if not self._configuration.is_realtime:
            raise invalid("a transcription session answers nothing", "type")
        wish = wish_of(self._configuration.values, event.response)
        self._here.catalogue.named(wish.model, "llava")
        if self._answer is not None:
            said = (
                f"the conversation has an answer on its way, {self._answer[0].id}: wait for response.done or cancel it"
            )
            raise invalid(said, None, "conversation_already_has_active_response")
        if wish.input is None:
            self._respond(wish)
            return
        items = [await self._item(each, f"response.input[{n}]") for n, each in enumerate(wish.input)]
        for item in items:
            self._hear(item)
        self._respond(wish, items)

    async def _cancel_response(self, event: types.ResponseCancelEvent) -> None:
        answer = self._answer and self._answer[0]
        if answer is None or (event.response_id is not None and event.response_id != answer.id):
            raise invalid("there is no such answer on its way", "response_id", "response_cancel_not_active")
        await self._interrupt("client_cancelled")

    def _respond(self, wish: Wish, items: Sequence[Item] | None = None) -> None:
        """Answer; or, where an answer is on its way that nobody interrupted, once that has ended."""
        self._stop_waiting()
        if self._answer is not None:
            self._next = wish
            return
        answer = Answer(
            self.conversation,
            self.conversation.items if items is None else items,
            wish,
            self._outgoing,
            self._here,
            self.conversation_id,
            self._limits.max_characters,
        )
        task = asyncio.create_task(answer.run())
        self._answer = answer, task
        task.add_done_callback(lambda _: self._answered(answer))

    def _answered(self, answer: Answer) -> None:
        if self._answer is None or self._answer[0] is not answer:
            return
        self._answer = None
        wish, self._next = self._next, None
        if wish is not None:
            self._respond(wish)
        else:
            self._wait_for_speech(answer)

    async def _interrupt(self, reason: Reason) -> None:
        self._next = None
        if self._answer is None:
            return
        answer, task = self._answer
        answer.reason = reason
        await answer.is_told.wait()  # a task that is cancelled before its first step says nothing at all
        if not answer.is_ending:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self._answer = None

    def _wait_for_speech(self, answer: Answer) -> None:
        """Where a session has `idle_timeout_ms`: answer the silence once it has lasted for so long behind an answer."""
        detection = self._configuration.detection
        wait_ms = getattr(detection, "idle_timeout_ms", None)
        if wait_ms and answer.reason != "turn_detected" and self._ear.turn is None:
            self._waiting = asyncio.create_task(self._silence(answer.usage.audio_s + wait_ms / 1000))

    def _stop_waiting(self) -> None:
        if self._waiting is not None and self._waiting is not asyncio.current_task():
            self._waiting.cancel()
        self._waiting = None

    async def _silence(self, seconds: float) -> None:
        """Sound that was sent may still be played; silence begins behind it."""
        begin_ms = self._ear.end_ms
        await asyncio.sleep(seconds)
        samples, _ = self._ear.take()
        item_id = new_id("item")
        place = {"audio_start_ms": begin_ms, "audio_end_ms": self._ear.end_ms, "item_id": item_id}
        try:
            await self._outgoing.tell(types.InputAudioBufferTimeoutTriggered, **place)
            before = self.conversation.last_id
            await self._outgoing.tell(types.InputAudioBufferCommittedEvent, item_id=item_id, previous_item_id=before)
            item = Item("user", [self._scribe.silence(samples)], id=item_id)
            await self._add(item, None, make_room=True)
            self._respond(wish_of(self._configuration.values, None))
        except ApiError as error:
            await self._outgoing.fault(error)


def checked(here: Context) -> Callable[[Configuration], None]:
    """What only the gateway knows of a configuration: whether its models and voices are there."""

    def check(configuration: Configuration) -> None:
        if configuration.is_realtime:
            here.catalogue.named(str(configuration.values.get("model") or ""), "llava")
        if (told := configuration.transcription) is not None:
            here.catalogue.named(told.model or "whisper", "whisper")
        has_model = folder_of(here.settings.realtime.smart_turn) is not None
        if getattr(configuration.detection, "type", "") == "semantic_vad" and not has_model:
            raise ApiError(
                400, no_smart_turn(), param="session.audio.input.turn_detection.type", code="smart_turn_missing"
            )

    return check
