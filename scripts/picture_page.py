"""Take the README's pictures of the page, and a short film of it, while `make gateway` runs.

    python scripts/picture_page.py --url http://127.0.0.1:8080

They are written into `docs/page/`. What they show is asked and drawn for them: nothing is painted in.
"""

import base64
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from install_chromium import INTO, install, installed, on_the_machine

FLAGS = ("--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
OUT = Path(__file__).resolve().parent.parent / "docs" / "page"
LOCALES = {"en": "en-GB", "zh": "zh-CN"}
WIDE, NARROW = (1200, 760), (360, 740)
FILM = (960, 680)  # pixels
FRAMES_A_S = 8
LAST_S = 2.0  # for so long its last picture stands
COLOURS = 64
Frame = tuple[float, bytes]
WITHIN_MS = 60_000
expect.set_options(timeout=WITHIN_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser: this machine's, or that of scripts/install_chromium.py."""
    if not (path := on_the_machine() or installed()):
        install()
        path = INTO / "chromium"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(INTO / "lib")} if path == INTO / "chromium" else None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(path), args=list(FLAGS), env=environment)
        yield browser
        browser.close()


def visit(browser: Browser, url: str, language: str, scheme: str, size: tuple[int, int], **options: object) -> Page:
    """The page as somebody has it."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        locale=LOCALES[language],
        color_scheme=scheme,
        device_scale_factor=1.5,
        **options,
    )
    context.set_default_timeout(WITHIN_MS)
    page = context.new_page()
    page.goto(url)
    return page


def talk(page: Page, question: str) -> None:
    """Show a picture, ask about it, and wait until the answer is being spoken."""
    page.evaluate("location.hash = 'talk'")
    page.locator(".place-talk .show").first.click()
    page.locator(".place-talk textarea").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".spoken .now").first).to_be_visible()


def spoken(page: Page) -> None:
    """Wait until it has been."""
    expect(page.locator("[data-state=waiting]")).to_be_visible()


def ask(page: Page, starter: int) -> None:
    """An example, answered."""
    page.evaluate("location.hash = 'ask'")
    page.locator(".place-ask .starter").nth(starter).click()
    expect(page.locator(".place-ask textarea")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".answer[aria-busy=false] .words")).not_to_be_empty()


def draw(page: Page, *prompts: str) -> None:
    """Pictures, one after another."""
    page.evaluate("location.hash = 'draw'")
    for count, prompt in enumerate(prompts, start=1):
        page.locator(".draw-form textarea:visible").first.fill(prompt)
        page.locator(".draw-form input[inputmode=numeric]").fill(str(count))
        page.keyboard.press("Enter")
        expect(page.locator(".place-draw button.frame")).to_have_count(count)


def search(page: Page, words: str) -> None:
    """Six shapes and what was drawn, found by words."""
    page.evaluate("location.hash = 'search'")
    page.locator(".place-search").wait_for()
    if page.locator(".empty button:visible").count():
        page.locator(".empty button:visible").last.click()
        expect(page.locator(".place-search .tile")).to_have_count(6)
    page.locator("input[type=search]").fill(words)
    expect(page.locator(".score:visible").first).to_be_visible()


def pictures(browser: Browser, url: str) -> None:
    """Light and dark, English and Chinese, wide and narrow."""
    page = visit(browser, url, "en", "light", WIDE)
    talk(page, "Describe the picture.")
    page.wait_for_timeout(900)
    page.screenshot(path=OUT / "talk.png")
    spoken(page)
    draw(page, "a red circle", "a blue star", "a green square", "a yellow heart", "a purple triangle", "a red cross")
    page.screenshot(path=OUT / "draw.png")
    search(page, "a blue star")
    page.screenshot(path=OUT / "search.png")
    page = visit(browser, url, "zh", "dark", WIDE)
    ask(page, 0)
    page.screenshot(path=OUT / "ask_zh_dark.png")
    page = visit(browser, url, "zh", "dark", NARROW)
    page.wait_for_timeout(500)
    page.screenshot(path=OUT / "talk_zh_narrow.png")
    page = visit(browser, url, "en", "light", NARROW)
    page.evaluate("location.hash = 'listen'")
    page.locator(".empty .button:visible").last.click()
    expect(page.locator(".word").first).to_be_visible()
    page.locator(".word").nth(3).click()
    page.wait_for_timeout(150)
    page.screenshot(path=OUT / "listen_narrow.png")


def film(browser: Browser, url: str) -> None:
    """A talk about a picture, a drawing, and how it is found again."""
    page = visit(browser, url, "en", "light", FILM)
    with screencast(page) as frames:
        page.wait_for_timeout(1200)
        talk(page, "Describe the picture.")
        spoken(page)
        page.wait_for_timeout(800)
        draw(page, "a blue star")
        page.wait_for_timeout(1000)
        search(page, "蓝色的星形")
        page.wait_for_timeout(1800)
    save_gif(frames, OUT / "film.gif")


@contextmanager
def screencast(page: Page) -> Iterator[list[Frame]]:
    """What is seen while something is done: times in seconds, and JPEG files."""
    frames: list[Frame] = []
    session = page.context.new_cdp_session(page)

    def keep(event: dict[str, Any]) -> None:
        frames.append((event["metadata"]["timestamp"], base64.b64decode(event["data"])))
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "jpeg", "quality": 95, "maxWidth": FILM[0], "maxHeight": FILM[1]})
    yield frames
    session.send("Page.stopScreencast")


def save_gif(frames: list[Frame], into: Path) -> None:
    """A film as a GIF, which READMEs play by themselves; a picture that stays is kept once."""
    times = [time for time, _ in frames]
    shown = [0]
    for index, time in enumerate(times):
        if time - times[shown[-1]] >= 1 / FRAMES_A_S:
            shown.append(index)
    ends = [times[index] for index in shown[1:]] + [times[-1] + LAST_S]
    durations = [round(1000 * (end - times[index])) for index, end in zip(shown, ends, strict=True)]
    pictures = [Image.open(io.BytesIO(frames[index][1])).quantize(COLOURS, dither=Image.Dither.NONE) for index in shown]
    pictures[0].save(into, save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=True)


def main(url: Annotated[str, typer.Option(help="The gateway's address.")] = "http://127.0.0.1:8080") -> None:
    """Take the README's pictures of the page."""
    OUT.mkdir(exist_ok=True)
    with chromium() as browser:
        pictures(browser, url)
        film(browser, url)
    for file in sorted(OUT.iterdir()):
        print(f"{file.relative_to(OUT.parent.parent)}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    typer.run(main)
