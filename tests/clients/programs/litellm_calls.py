"""`litellm`: what proxies in front of many servers call.

python litellm_calls.py BASE_URL SAMPLES
"""

import base64
import json
import os
import sys
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it fetches a table of prices

import litellm

SAMPLES = Path(sys.argv[2])
HERE = {"api_base": sys.argv[1], "api_key": "none"}
PICTURE = "data:image/png;base64," + base64.b64encode((SAMPLES / "picture.png").read_bytes()).decode()
ASKED = [
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": PICTURE}},
            {"type": "text", "text": "What color is the circle?"},
        ],
    }
]

streamed = litellm.completion(model="openai/llava", messages=ASKED, stream=True, **HERE)
with (SAMPLES / "question.wav").open("rb") as recording:
    heard = litellm.transcription(model="openai/whisper", file=recording, **HERE)
said = {
    "chat": litellm.completion(model="openai/llava", messages=ASKED, **HERE).choices[0].message.content,
    "chat_stream": [chunk.choices[0].delta.content or "" for chunk in streamed if chunk.choices],
    "vectors": [
        item["embedding"]
        for item in litellm.embedding(model="openai/clip", input=["a red circle", PICTURE], **HERE).data
    ],
    "image": litellm.image_generation(model="openai/stable_diffusion", prompt="a red circle", **HERE).data[0].b64_json,
    "transcription": heard.text,
    "speech": base64.b64encode(
        litellm.speech(
            model="openai/tts", voice="alloy", input="The circle is red.", response_format="wav", **HERE
        ).content
    ).decode(),
    "responses": litellm.responses(model="openai/llava", input="Hello.", **HERE).output[0].content[0].text,
}
print(json.dumps(said))
