"""`make demo`: start the server, ask the voice assistant a spoken question about a picture, stop the server.

Writes the picture, the spoken question and the spoken answer to demo_output/, a few more pictures that are searched by
words, and pictures that Stable Diffusion drew. Exits 1 if the answer is not true of the picture, if the search finds
the wrong one, or if CLIP does not see what was to be drawn.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from tritone.server.background import serve
from tritone.vision.shapes import COLOURS, SHAPES, article, caption, draw_scene, render
from tritone_client import Client, Reply

OUTPUT = Path("demo_output")
COLOUR, SHAPE = "red", "circle"
QUESTION = "What color is the circle in this picture?"
ALBUM = (("red", "square"), ("blue", "circle"), ("yellow", "star"), ("purple", "heart"), ("green", "cross"))
SEARCHES = {"a yellow star": "yellow star", "一个红色的圆形": "red circle"}
PROMPTS = {"a blue triangle": "a blue triangle", "一个红色的圆形": "a red circle"}  # and what CLIP should call it
DRAWN = "generated_red_circle.png"
DESCRIBE = "Describe the picture."
CHINESE_QUESTION = "图里有几个图形？"
console = Console(highlight=False, soft_wrap=True)
numbers = itertools.count(1)


def main() -> int:
    """Run the demo and return its exit code."""
    OUTPUT.mkdir(exist_ok=True)
    scene = draw_scene(Random(7), pairs=[(COLOUR, SHAPE)])
    picture = OUTPUT / "picture.png"
    render(scene, 384).save(picture)
    heading(f"drew {picture}: {caption(scene)}")
    heading("starting Triton Inference Server with all models")
    with serve(report=lambda line: console.print(f"   [dim]{line}[/]")) as address, Client(address.grpc) as client:
        code = converse(client, picture) or search(client, picture) or draw(client)
    if not code:
        console.print(
            f"[green]demo done:[/] it heard, looked, answered, found and drew; listen to {OUTPUT / 'answer.wav'}, look "
            f"at {OUTPUT / DRAWN}\nnext: `make gateway` keeps it running, with a page at http://127.0.0.1:8080 and "
            "OpenAI's API at /v1"
        )
    return code


def converse(client: Client, picture: Path) -> int:
    """Ask aloud, hear the answer, ask once more in Chinese, and watch an answer being made."""
    question = OUTPUT / "question.wav"
    client.speak(QUESTION).save(question)
    heading(f"asking aloud, {question}: {QUESTION!r}")
    with timed("voice to voice"):
        reply = client.converse(audio=question, image=picture)
    show(reply)
    # The ensemble answers as one; its stages, once more and one by one:
    with timed("hear"):
        client.transcribe(question)
    with timed("look and think"):
        client.ask(reply.transcript, picture)
    with timed("speak"):
        client.speak(reply.text)
    heading(f"asking in writing: {CHINESE_QUESTION}\n   {client.ask(CHINESE_QUESTION, picture).text}")
    stream(client, picture)
    if COLOUR not in reply.text.lower():
        console.print(f"[red]demo failed:[/] the {SHAPE} is {COLOUR}, the answer was {reply.text!r}")
        return 1
    return 0


def search(client: Client, picture: Path) -> int:
    """Look for pictures among a few, in English and in Chinese."""
    album = {f"{COLOUR} {SHAPE}": picture}
    for number, (colour, shape) in enumerate(ALBUM):
        album[f"{colour} {shape}"] = path = OUTPUT / f"{colour}_{shape}.png"
        render(draw_scene(Random(number), pairs=[(colour, shape)]), 384).save(path)
    heading(f"searching {len(album)} pictures: {', '.join(album)}")
    for query, expected in SEARCHES.items():
        best, *others = client.rank(query, list(album.values()))
        console.print(f"   {query}: [bold]{best.candidate}[/] ({best.score:.2f}; the next one {others[0].score:.2f})")
        if best.candidate != album[expected]:
            console.print(f"[red]demo failed:[/] looked for {query}, found {best.candidate}")
            return 1
    return 0


def draw(client: Client) -> int:
    """Have pictures drawn, in English and in Chinese, and ask CLIP what it takes them for."""
    candidates = [f"{article(colour)} {colour} {shape}" for colour in COLOURS for shape in SHAPES]
    for prompt, expected in PROMPTS.items():
        heading(f"drawing: {prompt}")
        with timed("drawn"):
            generated = client.generate_image(prompt, seed=0, guidance_scale=3.0)
        path = OUTPUT / f"generated_{expected.split(maxsplit=1)[1].replace(' ', '_')}.png"
        generated.image.save(path)
        best, second, *_ = client.rank(path, candidates)
        console.print(f"   {path}; of {len(candidates)} captions CLIP prefers:")
        console.print(f"   [bold]{best.candidate}[/] ({best.score:.2f}), then {second.candidate} ({second.score:.2f})")
        if best.candidate != expected:
            console.print(f"[red]demo failed:[/] asked for {prompt}, CLIP sees {best.candidate}")
            return 1
    return 0


def stream(client: Client, picture: Path) -> None:
    """Print a description as it is being made, one piece after the other."""
    heading(f"streaming: {DESCRIBE}")
    console.print("   ", end="")
    started, first_ms, chunk = time.monotonic(), 0.0, None
    for chunk in client.ask_stream(DESCRIBE, picture):
        first_ms = first_ms or 1000 * (time.monotonic() - started)
        console.print(f"{chunk.text}[dim]|[/]", end="")
    if chunk:
        rate = chunk.completion_tokens / (time.monotonic() - started)
        console.print(f"\n   first token after {first_ms:.0f} ms, {rate:.0f} tokens/s")


def show(reply: Reply) -> None:
    """Print and save what the assistant heard and said."""
    reply.speech.save(OUTPUT / "answer.wav")
    table = Table.grid(padding=(0, 2))
    table.add_row("   heard", f"[bold]{reply.transcript}[/]")
    table.add_row("   answered", f"[bold]{reply.text}[/]")
    table.add_row("   spoken", f"{OUTPUT / 'answer.wav'}, {reply.speech.duration:.1f} s")
    console.print(table)


def heading(text: str) -> None:
    """Print the first line of the next step."""
    console.print(f"[bold]{next(numbers)}.[/] {text}")


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print how long the context took."""
    started = time.monotonic()
    yield
    console.print(f"   {name:<16}{1000 * (time.monotonic() - started):6.0f} ms")


if __name__ == "__main__":
    raise SystemExit(main())
