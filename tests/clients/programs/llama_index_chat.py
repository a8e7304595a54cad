"""`llama-index-llms-openai-like`: a picture in a chat, streamed too.

python llama_index_chat.py BASE_URL SAMPLES
"""

import json
import sys
from pathlib import Path

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.llms.openai_like import OpenAILike

picture = ImageBlock(image=(Path(sys.argv[2]) / "picture.png").read_bytes())
asked = [ChatMessage(role="user", blocks=[picture, TextBlock(text="What color is the circle?")])]
model = OpenAILike(model="llava", api_base=sys.argv[1], api_key="none", is_chat_model=True, max_retries=0)
said = {
    "chat": model.chat(asked).message.content,
    "chat_stream": [piece.delta or "" for piece in model.stream_chat(asked)],
}
print(json.dumps(said))
