"""A crowd of every kind of request at the gateway, some of them wrong and some of whom leave."""

import asyncio
import io
from collections import Counter
from random import Random

import httpx
import openai
import pytest
from test_gateway import QUESTION, RED_CIRCLE, TWO, about, data_url, pixels, words
from test_llava_engine import idle, wait_for

pytestmark = pytest.mark.e2e
REQUESTS, AT_ONCE = 300, 50
MESSAGES = about(TWO, QUESTION)
RED = "The circle is red."


@pytest.fixture(scope="module")
def spoken(gateway_url):
    with openai.OpenAI(base_url=f"{gateway_url}/v1", api_key="none") as sdk:
        return sdk.audio.speech.create(model="tts", voice="alloy", input=RED, response_format="wav").read()


async def chat(sdk, spoken):
    answer = await sdk.chat.completions.create(model="llava", messages=MESSAGES)
    return answer.choices[0].message.content == RED


async def chat_stream(sdk, spoken):
    pieces = await sdk.chat.completions.create(model="llava", messages=MESSAGES, stream=True)
    return "".join([piece.choices[0].delta.content or "" async for piece in pieces]) == RED


async def response(sdk, spoken):
    shown = {"type": "input_image", "image_url": data_url(TWO), "detail": "auto"}
    content = [shown, {"type": "input_text", "text": "圆形是什么颜色？"}]
    return "红" in (await sdk.responses.create(model="llava", input=[{"role": "user", "content": content}])).output_text


async def embeddings(sdk, spoken):
    inputs = ["a red circle", "a blue star", data_url(RED_CIRCLE)]
    red, blue, picture = (each.embedding for each in (await sdk.embeddings.create(model="clip", input=inputs)).data)
    near = [sum(a * b for a, b in zip(text, picture, strict=True)) for text in (red, blue)]
    return near[0] > near[1]


async def transcription(sdk, spoken):
    heard = await sdk.audio.transcriptions.create(model="whisper", file=("a.wav", io.BytesIO(spoken)))
    return words(heard.text) == words(RED)


async def speech(sdk, spoken):
    said = await sdk.audio.speech.create(model="tts", voice="nova", input=RED, response_format="pcm")
    return abs(len(said.content) / 48_000 - len(spoken) / 48_000) < 0.2


async def picture(sdk, spoken):
    few = {"seed": 1, "num_inference_steps": 4}
    drawn = await sdk.images.generate(model="stable_diffusion", prompt="a red circle", extra_body=few)
    red, green, blue = pixels(drawn.data[0].b64_json).reshape(-1, 3).std(axis=0)
    return max(red, green, blue) > 10


KINDS = [*[chat, chat_stream, response, embeddings] * 3, transcription, speech, transcription, picture]
WRONG = {
    "n": lambda sdk: sdk.chat.completions.create(model="llava", messages=MESSAGES, n=2),
    "tools": lambda sdk: sdk.responses.create(model="llava", input="?", tools=[{"type": "web_search"}]),
    "input[0]": lambda sdk: sdk.embeddings.create(model="clip", input=["data:image/png;base64,!"]),
    "response_format": lambda sdk: sdk.images.generate(prompt="a", response_format="url"),
    "speed": lambda sdk: sdk.audio.speech.create(model="tts", voice="alloy", input="a", speed=9),
}


async def one(number, sdk, spoken, busy):
    """What came of a request: "right" or "refused" or "left", or what should not be."""
    async with busy:
        kind = KINDS[number % len(KINDS)]
        if number % 10 == 3:
            param = list(WRONG)[number // 10 % len(WRONG)]
            try:
                await WRONG[param](sdk)
            except openai.BadRequestError as error:
                return "refused" if error.param == param else f"{param} was refused as {error.param}"
            return f"{param} was taken"
        if number % 10 == 7:
            work = asyncio.ensure_future(kind(sdk, spoken))
            await asyncio.sleep(Random(number).random() * 0.2)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            return "left"
        return "right" if await kind(sdk, spoken) else f"{kind.__name__} was wrong"


async def crowd(url, spoken):
    busy = asyncio.Semaphore(AT_ONCE)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=20, timeout=120) as sdk:
        work = [one(number, sdk, spoken, busy) for number in range(REQUESTS)]
        return Counter(str(came) for came in await asyncio.gather(*work, return_exceptions=True))


def test_three_hundred_requests_are_all_answered_rightly_and_nothing_is_left_behind(server, gateway_url, spoken):
    assert asyncio.run(crowd(gateway_url, spoken)) == {
        "right": REQUESTS - 2 * REQUESTS // 10,
        "refused": REQUESTS // 10,
        "left": REQUESTS // 10,
    }
    wait_for(lambda: idle(server), within_s=20)
    page = lambda: httpx.get(f"{gateway_url}/metrics").text  # noqa: E731
    wait_for(lambda: "tritone_gateway_in_flight 1.0" in page(), within_s=20)  # the page itself
