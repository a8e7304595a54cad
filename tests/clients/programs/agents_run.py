"""`openai-agents`: an agent that looks at a picture, over the Responses API (its default) and over chat.

python agents_run.py BASE_URL SAMPLES
"""

import asyncio
import base64
import json
import sys
from pathlib import Path

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)
PICTURE = "data:image/png;base64," + base64.b64encode((Path(sys.argv[2]) / "picture.png").read_bytes()).decode()
QUESTION = [
    {
        "role": "user",
        "content": [
            {"type": "input_image", "image_url": PICTURE, "detail": "auto"},
            {"type": "input_text", "text": "What color is the circle?"},
        ],
    }
]


async def main():
    client, said = AsyncOpenAI(base_url=sys.argv[1], api_key="none", max_retries=0), {}
    for name, kind in (("responses", OpenAIResponsesModel), ("chat", OpenAIChatCompletionsModel)):
        agent = Agent(name="Eye", instructions="Answer briefly.", model=kind(model="llava", openai_client=client))
        said[name] = (await Runner.run(agent, QUESTION)).final_output
        streamed, pieces = Runner.run_streamed(agent, QUESTION), []
        async for event in streamed.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                pieces.append(event.data.delta)
        said[f"{name}_stream"] = {"pieces": pieces, "final": streamed.final_output}
    return said


print(json.dumps(asyncio.run(main())))
