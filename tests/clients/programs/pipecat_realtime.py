"""`pipecat-ai`: OpenAIRealtimeLLMService in a pipeline that shows it a picture and asks aloud.

python pipecat_realtime.py BASE_URL SAMPLES
"""

import asyncio
import base64
import json
import sys
import wave
from pathlib import Path

from loguru import logger
from PIL import Image
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InputImageRawFrame,
    LLMContextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.realtime.events import (
    AudioConfiguration,
    AudioInput,
    InputAudioTranscription,
    SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.tests.utils import SleepFrame, run_test

logger.remove()
SAMPLES = Path(sys.argv[2])
URL = sys.argv[1].replace("http", "ws", 1) + "/realtime"
RATE, BLOCK_S = 24_000, 0.04


def microphone():
    """The question and a second of silence, in real time."""
    with wave.open(str(SAMPLES / "question.wav")) as file:
        samples = file.readframes(file.getnframes()) + bytes(2 * RATE)
    size = round(2 * RATE * BLOCK_S)
    for place in range(0, len(samples), size):
        yield InputAudioRawFrame(samples[place : place + size], RATE, 1)
        yield SleepFrame(BLOCK_S)


async def main():
    heard = AudioConfiguration(input=AudioInput(transcription=InputAudioTranscription(model="whisper-1")))
    settings = OpenAIRealtimeLLMService.Settings(
        model="llava", system_instruction="Answer briefly.", session_properties=SessionProperties(audio=heard)
    )
    service = OpenAIRealtimeLLMService(api_key="none", base_url=URL, settings=settings)
    greeting = LLMContextFrame(LLMContext([{"role": "user", "content": "Hello!"}]))
    picture = Image.open(SAMPLES / "picture.png").convert("RGB")
    shown = InputImageRawFrame(picture.tobytes(), picture.size, "RGB")
    frames = [SleepFrame(1), greeting, SleepFrame(4), shown, SleepFrame(0.5), *microphone(), SleepFrame(6)]
    down, up = await run_test(service, frames_to_send=frames)
    return {
        "said": "".join(frame.text for frame in down if isinstance(frame, TTSTextFrame)),
        "heard": [frame.text for frame in [*down, *up] if isinstance(frame, TranscriptionFrame)],
        "pcm": base64.b64encode(
            b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame))
        ).decode(),
        "errors": [frame.error for frame in [*down, *up] if isinstance(frame, ErrorFrame)],
    }


print(json.dumps(asyncio.run(asyncio.wait_for(main(), 100))))
