"""Who writes down what the user says, and tells it where the session wants transcripts."""

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
from openai.types import realtime as types
from openai.types.realtime.conversation_item_input_audio_transcription_completed_event import (
    UsageTranscriptTextUsageDuration,
)
from openai.types.realtime.conversation_item_input_audio_transcription_failed_event import Error
from starlette.websockets import WebSocketDisconnect

from tritone_gateway.context import Context
from tritone_gateway.errors import WAIT_S, ApiError, try_again, unknown
from tritone_gateway.realtime.configuration import Configuration
from tritone_gateway.realtime.conversation import Said
from tritone_gateway.realtime.events import Outgoing
from tritone_gateway.realtime.listening.hearing import Hearing
from tritone_gateway.realtime.sound import HEARD_RATE

Samples = npt.NDArray[np.int16]


class Scribe:
    """Hears items, each once, and tells their words.

    Args:
        configuration: the session's, as it stands at any time.
    """

    def __init__(self, configuration: Configuration, outgoing: Outgoing, here: Context) -> None:
        self._configuration, self._outgoing, self._here = configuration, outgoing, here
        self._tasks: dict[asyncio.Task[str], float] = {}  # and how many seconds of sound each holds

    def hearing(self, item_id: str) -> Hearing:
        """Who hears an item that is still being said."""
        told = self._configuration.transcription
        options: dict[str, Any] = {}
        if told is not None:
            hint = ", ".join(filter(None, (*(told.keywords or ()), told.prompt)))
            language = told.language or next(iter(told.languages or ()), None)
            options = {"language": language, "initial_prompt": hint or None}

        async def tell(delta: str) -> None:
            place = {"item_id": item_id, "content_index": 0}
            await self._outgoing.tell(types.ConversationItemInputAudioTranscriptionDeltaEvent, **place, delta=delta)

        interval_s = self._here.settings.realtime.partial_s
        return Hearing(self._here, options, interval_s, tell if told is not None else None)

    def write(self, item_id: str, samples: Samples, speech_end: int, hearing: Hearing | None) -> asyncio.Task[str]:
        """The words of samples int16 (n_samples,) at 16 kHz, later; speech ends at `speech_end` of them.

        Raises: ApiError: 429: as much is waited for as a session may keep.
        """
        seconds, most = len(samples) / HEARD_RATE, self._here.settings.realtime.max_kept_s
        if self._tasks and sum(self._tasks.values()) + seconds > most:
            message = f"{sum(self._tasks.values()):.1f} s of sound wait to be heard, the limit is {most:g} s"
            raise try_again(message, WAIT_S, "too_much_unheard")
        task = asyncio.create_task(self._write(item_id, samples, speech_end, hearing or self.hearing(item_id)))
        self._tasks[task] = seconds
        task.add_done_callback(self._done)
        return task

    def silence(self, samples: Samples) -> Said:
        """What nobody said: it needs no hearing, and reads as silence."""
        words: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        words.set_result("…")
        return Said(samples, self._configuration.format, words)

    async def end(self) -> None:
        """Stop writing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[str]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # told already, and again to who waits for the words

    async def _write(self, item_id: str, samples: Samples, speech_end: int, hearing: Hearing) -> str:
        """Raises: ApiError: it could not be heard."""
        wanted = self._configuration.transcription is not None
        place = {"item_id": item_id, "content_index": 0}
        try:
            text = await hearing.end(samples, speech_end)
        except WebSocketDisconnect:
            raise
        except Exception as error:
            fault = error if isinstance(error, ApiError) else unknown(error, self._here.request_id)
            if wanted:
                told = Error(**fault.body.model_dump())
                await self._outgoing.tell(types.ConversationItemInputAudioTranscriptionFailedEvent, **place, error=told)
            raise fault from error
        seconds = len(samples) / HEARD_RATE
        await self._here.used_audio(seconds, "heard")
        if wanted:
            usage = UsageTranscriptTextUsageDuration(type="duration", seconds=round(seconds, 3))
            await self._outgoing.tell(
                types.ConversationItemInputAudioTranscriptionCompletedEvent, **place, transcript=text, usage=usage
            )
        return text
