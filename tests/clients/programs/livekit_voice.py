"""`livekit-plugins-openai`: speech as server-sent events, and transcription.

python livekit_voice.py BASE_URL SAMPLES
"""

import asyncio
import base64
import json
import sys
import wave
from pathlib import Path

from livekit import rtc
from livekit.plugins import openai


async def main():
    voice = openai.TTS(model="tts", voice="alloy", base_url=sys.argv[1], api_key="none")
    frames = [event.frame async for event in voice.synthesize("The circle is red.")]
    spoken = rtc.combine_audio_frames(frames)
    with wave.open(str(Path(sys.argv[2]) / "question.wav")) as file:
        samples, rate = file.readframes(file.getnframes()), file.getframerate()
    question = rtc.AudioFrame(samples, rate, 1, len(samples) // 2)
    ears = openai.STT(model="whisper", language="en", base_url=sys.argv[1], api_key="none", use_realtime=False)
    heard = await ears.recognize(question)
    mind = openai.LLM(model="llava", base_url=sys.argv[1], api_key="none")
    from livekit.agents.llm import ChatContext, ImageContent

    picture = "data:image/png;base64," + base64.b64encode((Path(sys.argv[2]) / "picture.png").read_bytes()).decode()
    context = ChatContext()
    context.add_message(role="user", content=[ImageContent(image=picture), "What color is the circle?"])
    pieces = []
    async with mind.chat(chat_ctx=context) as stream:
        async for chunk in stream:
            pieces.append(chunk.delta.content if chunk.delta and chunk.delta.content else "")
    return {
        "speech": base64.b64encode(spoken.to_wav_bytes()).decode(),
        "transcription": heard.alternatives[0].text,
        "chat": "".join(pieces),
    }


print(json.dumps(asyncio.run(main())))
