"""The same with OpenAI's own package, through `tritone gateway`.

python client/examples/openai_sdk.py docs/demo_picture.png http://127.0.0.1:8080/v1
"""

import base64
import sys
from pathlib import Path

from openai import OpenAI

picture, server = sys.argv[1:]
client = OpenAI(base_url=server, api_key="none")  # a key of `tritone gateway keys add`, where it asks for one
shown = "data:image/png;base64," + base64.b64encode(Path(picture).read_bytes()).decode()
content = [{"type": "image_url", "image_url": {"url": shown}}, {"type": "text", "text": "What color is the circle?"}]

answer = ""
for chunk in client.chat.completions.create(
    model="llava", messages=[{"role": "user", "content": content}], stream=True
):
    answer += chunk.choices[0].delta.content or ""
client.audio.speech.create(model="tts", voice="alloy", input=answer).write_to_file("answer.mp3")
drawn = client.images.generate(model="stable_diffusion", prompt=answer).data[0].b64_json
Path("answer.png").write_bytes(base64.b64decode(drawn))
print(answer)
