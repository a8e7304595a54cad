"""The Open Responses specification: what its acceptance tests ask that this API takes, judged by its published types.

python openresponses_checks.py BASE_URL SAMPLES
"""

import base64
import json
import sys
from pathlib import Path

import httpx
import openresponses_types as types

PICTURE = "data:image/png;base64," + base64.b64encode((Path(sys.argv[2]) / "picture.png").read_bytes()).decode()
EVENTS = {name: kind for name, kind in vars(types).items() if name.endswith("StreamingEvent")}


def event_type(name):
    """ "response.output_text.delta" to the class of it."""
    return EVENTS["".join(part.capitalize() for part in name.replace(".", "_").split("_")) + "StreamingEvent"]


def turn(role, content):
    return {"type": "message", "role": role, "content": content}


ASKED = {
    "basic": [turn("user", "Say hello in three words.")],
    "system": [turn("system", "You are a pirate."), turn("user", "Hello.")],
    "picture": [
        turn(
            "user",
            [
                {"type": "input_text", "text": "What color is the circle?"},
                {"type": "input_image", "image_url": PICTURE},
            ],
        )
    ],
    "turns": [turn("user", "Hello."), turn("assistant", "Hello! What shall we look at?"), turn("user", "你好。")],
}


def answered(client, asked):
    body = client.post("/responses", json={"model": "llava", "input": asked}).raise_for_status().json()
    types.ResponseResource.model_validate(body)
    return {"status": body["status"], "text": body["output"][0]["content"][0]["text"]}


def streamed(client, asked):
    kinds, last = [], None
    with client.stream("POST", "/responses", json={"model": "llava", "input": asked, "stream": True}) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: ") and line != "data: [DONE]":
                event = json.loads(line.removeprefix("data: "))
                event_type(event["type"]).model_validate(event)
                kinds.append(event["type"])
                last = event
    types.ResponseResource.model_validate(last["response"])
    return {
        "kinds": kinds,
        "status": last["response"]["status"],
        "text": last["response"]["output"][0]["content"][0]["text"],
    }


with httpx.Client(base_url=sys.argv[1], headers={"Authorization": "Bearer none"}, timeout=60) as client:
    said = {name: answered(client, asked) for name, asked in ASKED.items()}
    said["streamed"] = streamed(client, ASKED["picture"])
print(json.dumps(said))
