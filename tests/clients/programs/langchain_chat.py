"""`langchain-openai`: a picture in a chat, streamed too, structured output, and embeddings.

python langchain_chat.py BASE_URL SAMPLES
"""

import base64
import json
import sys
from pathlib import Path
from typing import Literal

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

PICTURE = "data:image/png;base64," + base64.b64encode((Path(sys.argv[2]) / "picture.png").read_bytes()).decode()
HERE = {"base_url": sys.argv[1], "api_key": "none", "max_retries": 0}


class Answer(BaseModel):
    """What is asked for."""

    color: Literal["red", "blue", "green"]


model = ChatOpenAI(model="llava", **HERE)
asked = [
    HumanMessage(
        content=[
            {"type": "image_url", "image_url": {"url": PICTURE}},
            {"type": "text", "text": "What color is the circle?"},
        ]
    )
]
# Texts as they are: without this it sends the token numbers of OpenAI's own models.
vectors = OpenAIEmbeddings(model="clip", check_embedding_ctx_length=False, **HERE)
said = {
    "chat": model.invoke(asked).content,
    "chat_stream": [str(chunk.content) for chunk in model.stream(asked)],
    "structured": model.with_structured_output(Answer, method="json_schema").invoke(asked).color,
    "vectors": vectors.embed_documents(["a red circle", "a blue square"]),
}
print(json.dumps(said))
