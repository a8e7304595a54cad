"""Words of what is said, while it is still being said."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import tritone_client
from tritone_gateway.context import Context
from tritone_gateway.errors import of_the_server
from tritone_gateway.realtime.sound import HEARD_RATE
from tritone_gateway.realtime.words import agreed, continued, joined

Samples = npt.NDArray[np.int16]
PARAMS = {
    "language": "session.audio.input.transcription.language",
    "initial_prompt": "session.audio.input.transcription.prompt",
}
WINDOW_S = 24.0  # of sound, at most, that is heard again
SETTLE_S = 12.0  # longer speech is heard again from behind the last word that was told
AFTER_SILENCE_MS = 160.0  # then it may be all, and is heard at once


class Hearing:
    """One stretch of speech. It is heard again and again as it grows, and told as far as two versions agree.

    Args:
        here: the session's surroundings.
        options: of the client's `transcribe`.
        interval_s: of new sound between two versions.
        tell: takes the next words; None: nobody wants them before the end.
    """

    def __init__(
        self, here: Context, options: dict[str, Any], interval_s: float, tell: Callable[[str], Awaitable[None]] | None
    ) -> None:
        self._here, self._options, self._interval_s, self._tell = here, options, interval_s, tell
        self.told = ""
        self._before = ""
        self._task: asyncio.Task[str] | None = None
        self._covered = 0  # samples that the running, or the last, version has
        self._settled, self._begin = "", 0  # words that stay as they are, and the samples up to which they are said

    def grow(self, samples: Callable[[], Samples], size: int, silent_ms: float) -> None:
        """Hear it anew, if it is time and the last version is done.

        Args:
            samples: gives all of it: int16 (n_samples,) at 16 kHz, `size` of them.
            silent_ms: since the last sound of speech.
        """
        if self._task is not None and not self._task.done():
            return
        new_s = (size - self._covered) / HEARD_RATE
        paused = AFTER_SILENCE_MS <= silent_ms < 1000 * new_s
        due = self._tell is not None and not silent_ms and new_s >= self._interval_s
        if (due or paused) and size - self._begin <= WINDOW_S * HEARD_RATE:
            self._covered = size
            self._task = asyncio.create_task(self._version(samples()[self._begin :]))
            self._task.add_done_callback(_seen)

    async def end(self, samples: Samples, speech_end: int) -> str:
        """All of it, once it has ended. The last version is taken where it has everything up to `speech_end`.

        Raises: ApiError: it could not be heard.
        """
        text = None
        if self._task is not None and self._covered >= speech_end:
            text = (await asyncio.gather(self._task, return_exceptions=True))[0]
        await self.stop()
        if not isinstance(text, str):
            heard = await self._heard(samples[self._begin :], self._here.patient)
            text = joined(self._settled, heard.text.strip())
        if self._tell is None:
            return text
        rest = continued(self.told, text)
        if rest is None:
            return text
        if rest:
            await self._tell(rest)
        return self.told + rest

    async def stop(self) -> None:
        """Hear no more."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _version(self, samples: Samples) -> str:
        is_long = self._tell is not None and len(samples) > SETTLE_S * HEARD_RATE
        heard = await self._heard(samples, self._here.client, word_timestamps=is_long or None)
        text = joined(self._settled, heard.text.strip())
        if self._tell is not None:
            stable = agreed(self._before, text)
            rest = continued(self.told, stable)
            self._before = text
            if rest:
                self.told += rest
                await self._tell(rest)
            if is_long and text.startswith(self.told):
                self._settle(text, heard.words)
        return text

    def _settle(self, text: str, words: Sequence[tritone_client.Word]) -> None:
        """Hear no more of what was told. `words` are those of the window, with their times in it."""
        place, settled_s = len(self._settled), 0.0
        for word in words:
            found = text.find(word.text, place)
            if found < 0 or found + len(word.text) > len(self.told):
                break
            place, settled_s = found + len(word.text), word.end
        self._settled, self._begin = text[:place], self._begin + round(settled_s * HEARD_RATE)

    async def _heard(
        self, samples: Samples, client: tritone_client.AsyncClient, **more: bool | None
    ) -> tritone_client.Transcript:
        """Raises: ApiError."""
        try:
            options: Any = {**self._options, **more, **self._here.delivery}
            return await client.transcribe(samples, sampling_rate=HEARD_RATE, **options)
        except tritone_client.Error as error:
            raise of_the_server(error, PARAMS) from error


def _seen(task: asyncio.Task[str]) -> None:
    """A version that failed is no loss: the next one, or the last, says whether anything is wrong."""
    if not task.cancelled():
        task.exception()
