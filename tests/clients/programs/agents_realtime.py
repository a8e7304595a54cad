"""`openai-agents`: a realtime agent is shown a picture, hears a question, and is interrupted in its answer.

python agents_realtime.py BASE_URL SAMPLES
"""

import asyncio
import base64
import json
import sys
import time
import wave
from pathlib import Path

from agents import set_tracing_disabled
from agents.realtime import RealtimeAgent, RealtimeRunner

set_tracing_disabled(True)
SAMPLES = Path(sys.argv[2])
URL = sys.argv[1].replace("http", "ws", 1) + "/realtime?model=llava"
PICTURE = "data:image/png;base64," + base64.b64encode((SAMPLES / "picture.png").read_bytes()).decode()
BLOCK_S = 0.04
HEARD_S = 0.7


def speech(name):
    with wave.open(str(SAMPLES / name)) as file:
        return file.readframes(file.getnframes())


class Microphone:
    def __init__(self, session):
        self.session, self.waiting = session, bytearray()

    async def run(self):
        size, start, count = round(48_000 * BLOCK_S), time.monotonic(), 0
        while True:
            await self.session.send_audio(bytes(self.waiting[:size]).ljust(size, b"\0"))
            del self.waiting[:size]
            count += 1
            await asyncio.sleep(max(0, start + count * BLOCK_S - time.monotonic()))


def answers(session):
    """What the agent has said, item by item, as its history has it."""
    items = [item for item in session._history if item.type == "message" and item.role == "assistant"]
    return [part.transcript for item in items for part in item.content if part.type == "audio"]


async def main():
    agent = RealtimeAgent(name="Eye", instructions="Answer briefly.")
    sound, interrupted, errors, spoken = [], 0, [], bytearray()
    async with await RealtimeRunner(agent).run(model_config={"url": URL, "api_key": "none"}) as session:
        picture = {"type": "input_image", "image_url": PICTURE}
        question = {"type": "input_text", "text": "What color is the circle?"}
        await session.send_message({"type": "message", "role": "user", "content": [picture, question]})
        microphone = Microphone(session)
        playing, ends = asyncio.create_task(microphone.run()), 0
        async for event in session:
            if event.type == "audio":
                if not spoken and not sound:
                    asyncio.get_running_loop().call_later(HEARD_S, microphone.waiting.extend, speech("follow_up.wav"))
                spoken += event.audio.data
            elif event.type == "audio_interrupted":
                interrupted += 1
            elif event.type == "audio_end":
                sound.append(base64.b64encode(bytes(spoken)).decode())
                spoken.clear()
                ends += 1
                if ends == 2:
                    break
            elif event.type == "error":
                errors.append(str(event.error))
        playing.cancel()
        await asyncio.sleep(0.5)
        return {"answers": answers(session), "sound": sound, "interrupted": interrupted, "errors": errors}


print(json.dumps(asyncio.run(asyncio.wait_for(main(), 100))))
