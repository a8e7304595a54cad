"""Every way into the real server that the client has, and every example of its README."""

import asyncio
import io
import re
from pathlib import Path
from random import Random

import pytest
from test_llava_engine import ENDLESS

from tritone.vision.shapes import draw_scene, render
from tritone_client import AsyncClient, Client, InvalidInput, NotServed

pytestmark = pytest.mark.e2e
README = Path(__file__).parents[2] / "client" / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
QUESTION = "What color is the circle?"


def drawn(*pairs) -> bytes:
    file = io.BytesIO()
    render(draw_scene(Random(7), pairs=list(pairs)), 256).save(file, "PNG")
    return file.getvalue()


PICTURE = drawn(("red", "circle"))


@pytest.fixture(scope="module")
def folder(server, tmp_path_factory):
    """What the README's examples find in their folder."""
    folder = tmp_path_factory.mktemp("readme")
    with Client(server.grpc) as client:
        client.speak("What color is the circle in this picture?").save(folder / "question.wav")
        said = client.speak("The circle is red. The star is blue.")
        (folder / "lecture.m4a").write_bytes(said.wav)  # a file is told by its first bytes
    (folder / "holiday").mkdir()
    for name in ("picture.png", "one.png", "holiday/red.png"):
        (folder / name).write_bytes(PICTURE)
    for name in ("two.png", "holiday/blue.png"):
        (folder / name).write_bytes(drawn(("blue", "star")))
    return folder


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, ["the circle in this picture", "The circle is red.", "Latencies(", "The shape is"]),
        (1, ["The circle is red.", "red circle"]),
        (2, ["one.png", "holiday"]),
        (3, []),
    ],
)
def test_an_example_of_the_readme_runs(number, said, server, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert len(EXAMPLES) == 4
    code = EXAMPLES[number].replace("localhost:8001", server.grpc)
    exec(compile(code, f"example {number} of {README}", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert [words for words in said if words not in printed] == [], printed


@pytest.fixture(params=["grpc", "http"])
def url(request, server):
    return f"{request.param}://{getattr(server, request.param)}"


def test_both_protocols_give_the_same_answers(url):
    with Client(url) as client:
        assert client.ask(QUESTION, PICTURE).text == "The circle is red."
        assert client.ask("图里有几个图形？", PICTURE).text == "有一个图形。"
        speech = client.speak("The circle is red.")
        assert client.transcribe(speech.wav).text.strip() == "The circle is red."
        assert client.rank("一个红色的圆形", [drawn(("blue", "star")), PICTURE])[0].index == 1
        assert {"llava", "tts", "clip_text"} <= {model.name for model in client.models()}


def test_both_protocols_have_the_same_errors(url):
    with Client(url) as client:
        for ask in (
            lambda **wish: client.ask("What?", **wish),
            lambda **wish: list(client.ask_stream("What?", **wish)),
        ):
            with pytest.raises(InvalidInput, match="max_tokens"):
                ask(max_tokens=0)
            with pytest.raises((InvalidInput, NotServed), match="nobody"):
                ask(adapter="nobody")


def test_both_protocols_stream_on_an_event_loop(url):
    async def ask():
        async with AsyncClient(url) as client:
            pieces = [chunk async for chunk in client.ask_stream("你好。")]
            long = [chunk async for chunk in client.ask_stream("Tell me a story.", **ENDLESS)]
            return pieces, await client.ask("你好。"), long

    pieces, whole, long = asyncio.run(ask())
    assert "".join(piece.text for piece in pieces) == whole.text
    assert pieces[-1].finish_reason == whole.finish_reason == "stop"
    assert len(long) > 3  # a short answer may be whole before anybody reads its first piece


def test_both_protocols_stream_sound_and_pictures(url):
    with Client(url) as client:
        question = client.speak("What color is the circle in this picture?").wav
        [stretch] = client.transcribe_stream(question)
        assert stretch.text.strip() == "What color is the circle in this picture?"
        first, *clauses = client.converse_stream(question, PICTURE)
        assert first.transcript.strip() == stretch.text.strip()
        assert "".join(clause.text for clause in clauses).strip() == "The circle is red."
        spoken = [clause.speech for clause in clauses if clause.speech]
        assert client.transcribe(spoken[0].wav).text.strip() == "The circle is red."
        assert [word.text for word in spoken[0].words] == ["The", "circle", "is", "red."]
        assert len(spoken[0].audio) == pytest.approx(spoken[0].duration * spoken[0].sampling_rate)
        *steps, drawing = client.generate_image_stream(
            "a blue triangle", seed=0, num_inference_steps=20, preview_interval=10
        )
        assert [step.step for step in steps] == list(range(1, 21))
        assert any(step.previews for step in steps)
        assert drawing.image.pixels.shape[2] == 3
        assert client.rank(drawing.image.png, ["a blue triangle", "a red star", "一个绿色的圆形"])[0].index == 0


def test_what_is_no_picture_is_refused_the_same_way_in_a_stream(url):
    with Client(url) as client, pytest.raises(InvalidInput, match="image_bytes is no readable PNG"):
        list(client.ask_stream("What?", b"no picture"))
