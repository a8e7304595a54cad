"""What only an event loop can do: tasks that are cancelled, generators that are left, and a loop that is not kept."""

import asyncio
import os

import pytest
from fake_triton import PATIENCE_S

from tritone_client import AsyncClient, InvalidInput, MockTransport

ANSWER = {"text_output": "Red.", "finish_reason": "stop", "prompt_tokens": 9, "completion_tokens": 2}


def left(triton) -> bool:
    """Whether the server learns that the caller has gone."""
    return triton.left.wait(PATIENCE_S)


async def busy(triton) -> None:
    assert await asyncio.to_thread(triton.busy.wait, PATIENCE_S)


def is_cancelled(triton, work):
    """Asserts that cancelling the task of `work(client)` cancels its request."""

    async def ask():
        async with AsyncClient(triton.url) as client:
            task = asyncio.create_task(work(client))
            await busy(triton)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(left, triton)

    asyncio.run(ask())


def test_cancelling_a_task_cancels_its_request_on_the_server(triton):
    is_cancelled(triton, lambda client: client.ask("wait"))


def test_cancelling_a_task_in_the_middle_of_a_stream_cancels_its_request(triton):
    async def read(client):
        async for _ in client.ask_stream("wait"):
            pass

    is_cancelled(triton, read)


def test_leaving_a_stream_cancels_its_request(triton):
    async def ask():
        async with AsyncClient(triton.url) as client:
            async for chunk in client.ask_stream("wait"):
                assert chunk.text == "one "
                await busy(triton)
                break  # nobody closes the generator but its end
            assert await asyncio.to_thread(left, triton)

    asyncio.run(ask())


def test_cancelling_a_list_cancels_what_is_in_flight(triton):
    is_cancelled(triton, lambda client: client.embed_text(["wait"] * 3))


def test_many_tasks_share_one_client(triton):
    async def ask():
        async with AsyncClient(triton.url) as client:
            answers = await asyncio.gather(*(client.ask(str(number)) for number in range(40)))
            return [answer.text for answer in answers]

    assert asyncio.run(ask()) == [str(number) for number in range(40)]


def test_a_file_is_read_on_a_thread_and_bytes_are_not(tmp_path):
    pipe = tmp_path / "picture.png"
    os.mkfifo(pipe)

    async def ask():
        client = AsyncClient(transport=MockTransport(lambda request: ANSWER))
        reading = asyncio.create_task(client.caption(pipe))  # a pipe gives nothing until somebody writes
        assert (await client.caption(b"png")) == "Red."  # so the loop must go on meanwhile
        assert not reading.done()
        await asyncio.to_thread(pipe.write_bytes, b"png")
        return await reading

    assert asyncio.run(ask()) == "Red."


def test_a_client_may_be_made_before_there_is_a_loop(triton):
    client = AsyncClient(triton.url)

    async def ask():
        async with client:
            return (await client.ask("你好")).text

    assert asyncio.run(ask()) == "你好"


def test_what_is_wrong_with_the_input_of_a_stream_is_raised_with_its_first_part():
    async def ask():
        chunks = AsyncClient(transport=MockTransport(lambda request: [ANSWER])).ask_stream("?", max_tokens=1.5)
        with pytest.raises(InvalidInput, match="max_tokens"):
            await anext(chunks)

    asyncio.run(ask())
