"""`tritone draw`: pictures of what is described."""

import contextlib
import io
import logging
import os
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tritone_client import GeneratedImage, GeneratedImages, InvalidInput
from tritone_client.cli import options
from tritone_client.cli.session import Session, session
from tritone_client.cli.streams import DASH, Input, is_stdout, writable, write


def _pixels(size: str) -> tuple[int, int]:
    """Width and height, of 512x768 or, of a square, 512."""
    width, _, height = size.lower().partition("x")
    try:
        return int(width), int(height or width)
    except ValueError:
        raise typer.BadParameter(f"{size!r} must be WIDTHxHEIGHT in pixels, such as 512x768") from None


def draw(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What is to be seen; - reads it from standard input.")],
    output: options.Output = None,
    negative: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps: more take longer and look better.")] = None,
    size: Annotated[
        Any, typer.Option(parser=_pixels, metavar="WIDTHxHEIGHT", help="In pixels; 512 is a square.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many; out.png becomes out-1.png, out-2.png, …", min=1)] = 1,
    seed: options.Seed = None,
    style: Annotated[str | None, typer.Option(help="Such as watercolour or 油画.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely the words are followed.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Such as ddim or euler.")] = None,
    image: Annotated[str | None, typer.Option(help="A picture to start from; - is standard input.")] = None,
    mask: Annotated[str | None, typer.Option(help="Only its white part of --image is drawn anew.")] = None,
    strength: Annotated[float | None, typer.Option(help="How much of --image may change, 0 to 1.")] = None,
    show: Annotated[bool, typer.Option("--show/--no-show", help="In the terminal, too.")] = True,
    server: options.Server = options.HERE,
    timeout: options.Timeout = 3600,
    as_json: options.Json = False,
) -> None:
    """Draw pictures of what is described.

    tritone draw "a red circle" -o circle.png (or .jpg, .webp)
    """
    with session(context, server, timeout, as_json) as run:
        _check(run, output, count)
        stdin = Input()
        width, height = size or (None, None)
        wishes = {
            "negative_prompt": negative,
            "num_inference_steps": steps,
            "width": width,
            "height": height,
            "num_images": None if count == 1 else count,
            "seed": seed,
            "style": style,
            "guidance_scale": guidance,
            "scheduler": scheduler,
            "image": None if image is None else stdin.file(image),
            "mask": None if mask is None else stdin.file(mask),
            "strength": strength,
        }
        drawn = _drawn(run, stdin.text(prompt), wishes)
        files = _files(output, count)
        for file, picture in zip(files, drawn.images, strict=False):
            if is_stdout(file):
                write(file, picture.png)
            else:
                picture.save(file)
        _tell(run, drawn, files, show)


def _check(run: Session, output: Path | None, count: int) -> None:
    """Before the work; raises InvalidInput."""
    if output is None and not run.on_terminal:
        raise InvalidInput("there is no file to draw into: name one by -o circle.png, or -o - for standard output")
    if is_stdout(output) and count > 1:
        raise InvalidInput(f"--count is {count}, but standard output takes 1 picture: name a file by -o circle.png")
    writable(output, on_stdout=run.as_json)
    if output is not None and not is_stdout(output):
        GeneratedImage.format_of(output)


def _drawn(run: Session, prompt: str, wishes: dict[str, Any]) -> GeneratedImages:
    with contextlib.closing(run.client.generate_image_stream(prompt, **wishes)) as parts, run.bar() as bar:
        task = bar.add_task("drawing", total=None)
        for part in parts:
            if isinstance(part, GeneratedImages):
                return part
            bar.update(task, completed=part.step, total=part.num_steps)
    raise AssertionError("a stream without its end raises")


def _files(output: Path | None, count: int) -> list[Path]:
    if output is None:
        return []
    if count == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{number}{output.suffix}") for number in range(1, count + 1)]


def _tell(run: Session, drawn: GeneratedImages, files: list[Path], show: bool) -> None:
    if run.as_json:
        names: list[str | None] = [str(file) for file in files]
        numbered = zip_longest(names, drawn.images)  # without a file a picture is shown alone
        pictures = [{"file": name, "seed": each.seed} for name, each in numbered]
        facts = {"prompt_tokens": drawn.prompt_tokens, "truncated_text": drawn.truncated_text}
        run.record({"pictures": pictures, **facts})
        return
    if show and run.on_terminal and files != [Path(DASH)]:
        for picture in drawn.images:
            _show(picture.png)
    for file, picture in zip(files, drawn.images, strict=False):
        run.note(f"{'' if is_stdout(file) else f'{file}: '}--seed {picture.seed} draws it again")
    if drawn.truncated_text:
        run.note(f"tritone: the prompt is too long, this was not read: {drawn.truncated_text}")


def _show(png: bytes) -> None:
    """The picture itself, where the terminal can: textual-image asks it, and it asks back on standard input."""
    if not _can_show():
        return
    from PIL import Image  # only here: most runs show nothing

    with contextlib.suppress(ImportError):  # the extra `cli` brings it
        logging.getLogger("textual_image").setLevel(logging.ERROR)  # it warns of terminals that do not answer
        from textual_image.renderable import Image as Shown

        Console().print(Shown(Image.open(io.BytesIO(png)), width="auto", height="auto"))


def _can_show() -> bool:
    """Whether a person sits at a terminal that has a size; some that programs open have none."""
    streams = (sys.__stdin__, sys.__stdout__)
    if not all(stream is not None and stream.isatty() for stream in streams):
        return False
    return all(os.get_terminal_size(sys.__stdout__.fileno()))  # type: ignore[union-attr]  # looked at above
