"""`pipecat-ai`: OpenAI's services for hearing, thinking and speaking, each in a pipeline of its own.

python pipecat_services.py BASE_URL SAMPLES
"""

import asyncio
import base64
import json
import sys
import wave
from pathlib import Path

from loguru import logger
from pipecat.frames.frames import (
    InputAudioRawFrame,
    LLMContextFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.stt import OpenAISTTService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.tests.utils import SleepFrame, run_test

logger.remove()
HERE = {"base_url": sys.argv[1], "api_key": "none"}
SAMPLES = Path(sys.argv[2])


async def speak():
    service = OpenAITTSService(settings=OpenAITTSService.Settings(model="tts", voice="alloy"), **HERE)
    down, _ = await run_test(service, frames_to_send=[TTSSpeakFrame("The circle is red."), SleepFrame(20)])
    frames = [frame for frame in down if isinstance(frame, TTSAudioRawFrame)]
    return {"rate": frames[0].sample_rate, "pcm": base64.b64encode(b"".join(frame.audio for frame in frames)).decode()}


async def hear():
    with wave.open(str(SAMPLES / "question.wav")) as file:
        samples, rate = file.readframes(file.getnframes()), file.getframerate()
    service = OpenAISTTService(settings=OpenAISTTService.Settings(model="whisper"), sample_rate=rate, **HERE)
    size = rate // 50 * 2
    blocks = [InputAudioRawFrame(samples[at : at + size], rate, 1) for at in range(0, len(samples), size)]
    frames = [VADUserStartedSpeakingFrame(), *blocks, SleepFrame(1), VADUserStoppedSpeakingFrame(), SleepFrame(20)]
    down, _ = await run_test(service, frames_to_send=frames)
    return " ".join(frame.text for frame in down if isinstance(frame, TranscriptionFrame))


async def think():
    picture = "data:image/png;base64," + base64.b64encode((SAMPLES / "picture.png").read_bytes()).decode()
    asked = [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": picture}},
                {"type": "text", "text": "What color is the circle?"},
            ],
        }
    ]
    service = OpenAILLMService(settings=OpenAILLMService.Settings(model="llava"), **HERE)
    down, _ = await run_test(service, frames_to_send=[LLMContextFrame(LLMContext(asked)), SleepFrame(10)])
    return "".join(frame.text for frame in down if isinstance(frame, LLMTextFrame))


async def main():
    return {"speech": await speak(), "transcription": await hear(), "chat": await think()}


print(json.dumps(asyncio.run(main())))
