"""`instructor`: an answer of a given shape.

python instructor_schema.py BASE_URL SAMPLES
"""

import base64
import json
import sys
from pathlib import Path
from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel, ConfigDict

PICTURE = "data:image/png;base64," + base64.b64encode((Path(sys.argv[2]) / "picture.png").read_bytes()).decode()


class Answer(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid")  # or so small a model goes on and on with words of its own
    color: Literal["red", "blue", "green"]


client = instructor.from_openai(
    OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0), mode=instructor.Mode.JSON_SCHEMA
)
answer = client.chat.completions.create(
    model="llava",
    response_model=Answer,
    max_retries=0,
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": PICTURE}},
                {"type": "text", "text": "What color is the circle?"},
            ],
        }
    ],
)
print(json.dumps({"color": answer.color}))
