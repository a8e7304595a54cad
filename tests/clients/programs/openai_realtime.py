"""The `openai` package on /v1/realtime: a picture is shown, a spoken question asked, its answer interrupted and cut at
the word that was heard, and another question asked. Prints what was told.

python openai_realtime.py BASE_URL SAMPLES server_vad|semantic_vad
"""

import asyncio
import base64
import json
import sys
import time
import wave
from pathlib import Path

from openai import AsyncOpenAI

SAMPLES, DETECTION = Path(sys.argv[2]), sys.argv[3]
PICTURE = "data:image/png;base64," + base64.b64encode((SAMPLES / "picture.png").read_bytes()).decode()
BLOCK_S = 0.04
HEARD_S = 0.7  # of the answer, until it is interrupted


def speech(name):
    """PCM at 24 kHz."""
    with wave.open(str(SAMPLES / name)) as file:
        assert file.getframerate() == 24_000
        return file.readframes(file.getnframes())


class Microphone:
    """Sends sound as it would come: silence where nothing is said."""

    def __init__(self, connection):
        self.connection, self.waiting = connection, bytearray()

    async def run(self):
        size, start, count = round(48_000 * BLOCK_S), time.monotonic(), 0
        while True:
            block = bytes(self.waiting[:size]).ljust(size, b"\0")
            del self.waiting[:size]
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(block).decode())
            count += 1
            await asyncio.sleep(max(0, start + count * BLOCK_S - time.monotonic()))


async def until(connection, kind, seen):
    async for event in connection:
        seen.append(event)
        assert event.type != "error", event
        if event.type == kind:
            return event
    raise AssertionError(f"no {kind}")


def sound_of(seen, response_id):
    deltas = [e for e in seen if e.type == "response.output_audio.delta" and e.response_id == response_id]
    return base64.b64encode(b"".join(base64.b64decode(e.delta) for e in deltas)).decode()


def transcripts(seen):
    prefix = "conversation.item.input_audio_transcription"
    return {
        "deltas": [e.delta for e in seen if e.type == f"{prefix}.delta"],
        "completed": [e.transcript for e in seen if e.type == f"{prefix}.completed"],
    }


async def talk(connection):
    seen, told = [], {}
    await until(connection, "session.created", seen)
    listening = {"turn_detection": {"type": DETECTION}, "transcription": {"model": "gpt-4o-transcribe"}}
    await connection.session.update(session={"type": "realtime", "audio": {"input": listening}})
    await until(connection, "session.updated", seen)
    shown = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}
    await connection.conversation.item.create(item=shown)
    await until(connection, "conversation.item.done", seen)
    microphone = Microphone(connection)
    playing = asyncio.create_task(microphone.run())
    try:
        microphone.waiting += speech("question.wav")
        await until(connection, "response.output_audio.delta", seen)
        asyncio.get_running_loop().call_later(HEARD_S, microphone.waiting.extend, speech("follow_up.wav"))
        done = (await until(connection, "response.done", seen)).response
        told["first"] = {"response": done.to_dict(), "pcm": sound_of(seen, done.id)}
        await until(connection, "input_audio_buffer.speech_started", seen)
        place = {"item_id": done.output[0].id, "content_index": 0}
        await connection.conversation.item.truncate(audio_end_ms=round(1000 * HEARD_S), **place)
        await until(connection, "conversation.item.truncated", seen)
        await connection.conversation.item.retrieve(item_id=done.output[0].id)
        told["left"] = (await until(connection, "conversation.item.retrieved", seen)).item.to_dict()["content"][0]
        done = (await until(connection, "response.done", seen)).response
        told["second"] = {"response": done.to_dict(), "pcm": sound_of(seen, done.id)}
    finally:
        playing.cancel()
    return told | {"kinds": [event.type for event in seen], "transcripts": transcripts(seen)}


async def main():
    client = AsyncOpenAI(base_url=sys.argv[1], api_key="none")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        return await talk(connection)


print(json.dumps(asyncio.run(asyncio.wait_for(main(), 120))))
