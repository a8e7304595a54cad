"""The `openai` package, blocking or asynchronous, on every endpoint: prints what it was answered.

python openai_endpoints.py BASE_URL SAMPLES blocking|asynchronous
"""

import asyncio
import base64
import json
import struct
import sys
from pathlib import Path

import openai

BASE_URL, SAMPLES, KIND = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
PICTURE = "data:image/png;base64," + base64.b64encode((SAMPLES / "picture.png").read_bytes()).decode()
QUESTION = base64.b64encode((SAMPLES / "question.wav").read_bytes()).decode()
COLOUR = {
    "role": "user",
    "content": [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "text", "text": "What color is the circle?"},
    ],
}
SCHEMA = {
    "type": "object",
    "properties": {"color": {"enum": ["red", "blue", "green"]}},
    "required": ["color"],
    "additionalProperties": False,
}


def chat(create):
    return {
        "chat": create(model="llava", messages=[COLOUR], logprobs=True, top_logprobs=2),
        "chat_stream": create(model="llava", messages=[COLOUR], stream=True, stream_options={"include_usage": True}),
        "chat_schema": create(
            model="llava",
            messages=[COLOUR],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
            },
        ),
        "chat_aloud": create(
            model="llava",
            modalities=["text", "audio"],
            audio={"voice": "alloy", "format": "wav"},
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PICTURE}},
                        {"type": "input_audio", "input_audio": {"data": QUESTION, "format": "wav"}},
                    ],
                }
            ],
        ),
    }


def others(client):
    picture, recording = SAMPLES / "picture.png", SAMPLES / "question.wav"
    return {
        "models": client.models.list(),
        "responses": client.responses.create(
            model="llava",
            input=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
                        {"type": "input_text", "text": "What color is the circle?"},
                    ],
                }
            ],
        ),
        "embeddings": client.embeddings.create(model="clip", input=["a red circle", "a blue square", PICTURE]),
        "image": client.images.generate(model="stable_diffusion", prompt="a red circle", size="auto"),
        "image_edit": client.images.edit(model="stable_diffusion", image=picture, prompt="a blue circle"),
        "transcription": client.audio.transcriptions.create(model="whisper", file=recording),
        "transcription_words": client.audio.transcriptions.create(
            model="whisper", file=recording, response_format="verbose_json", timestamp_granularities=["word", "segment"]
        ),
        "transcription_vtt": client.audio.transcriptions.create(model="whisper", file=recording, response_format="vtt"),
        "transcription_stream": client.audio.transcriptions.create(model="whisper", file=recording, stream=True),
        "speech": client.audio.speech.create(
            model="tts", voice="alloy", input="The circle is red.", response_format="wav"
        ),
    }


def plain(answer):
    """What JSON can hold: streams are lists of events, speech is base64."""
    if isinstance(answer, (str, dict, list)):
        return answer
    if isinstance(answer, Exception):
        return {"error": type(answer).__name__, "status": answer.status_code, "body": answer.body}
    return answer.to_dict() if hasattr(answer, "to_dict") else base64.b64encode(answer.content).decode()


def wrong(client):
    return {
        "unknown_model": lambda: client.chat.completions.create(model="gpt-17", messages=[COLOUR]),
        "two_choices": lambda: client.chat.completions.create(model="llava", messages=[COLOUR], n=2),
        "far_picture": lambda: client.chat.completions.create(
            model="llava",
            messages=[
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}]}
            ],
        ),
    }


def blocking():
    client, said = openai.OpenAI(base_url=BASE_URL, api_key="none", max_retries=0), {}
    for name, answer in {**chat(client.chat.completions.create), **others(client)}.items():
        said[name] = [plain(event) for event in answer] if isinstance(answer, openai.Stream) else plain(answer)
    for name, ask in wrong(client).items():
        try:
            said[name] = plain(ask())
        except openai.APIStatusError as error:
            said[name] = plain(error)
    return said


async def asynchronous():
    client, said = openai.AsyncOpenAI(base_url=BASE_URL, api_key="none", max_retries=0), {}
    for name, coroutine in {**chat(client.chat.completions.create), **others(client)}.items():
        answer = await coroutine
        said[name] = [plain(e) async for e in answer] if isinstance(answer, openai.AsyncStream) else plain(answer)
    for name, ask in wrong(client).items():
        try:
            said[name] = plain(await ask())
        except openai.APIStatusError as error:
            said[name] = plain(error)
    return said


said = blocking() if KIND == "blocking" else asyncio.run(asynchronous())
said["vectors"] = [
    item["embedding"]
    if isinstance(item["embedding"], list)
    else list(struct.iter_unpack("<f", base64.b64decode(item["embedding"])))
    for item in said["embeddings"]["data"]
]
print(json.dumps(said))
