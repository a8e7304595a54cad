"""The page in Chromium, as people have it: the real gateway and server behind it, and nobody else to ask."""

import base64
import contextlib
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from chromium import FLAGS, launching
from material import wav, words
from playwright.sync_api import expect, sync_playwright

WITHIN_MS = 60_000  # a busy machine needs as long; a quiet one a tenth
expect.set_options(timeout=WITHIN_MS)
LOCALES = {"en": "en-GB", "zh": "zh-CN"}
# Keeps what leaves the loudspeaker, and the sockets that the page opens.
WATCH = """
const connect = AudioNode.prototype.connect
window.played = []
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    const tap = this.context.createScriptProcessor(1024, 1, 1)
    tap.onaudioprocess = ({ inputBuffer }) => window.played.push(...inputBuffer.getChannelData(0))
    connect.call(this, tap)
    connect.call(tap, to)
  }
  return connect.call(this, to, ...rest)
}
const Socket = window.WebSocket
window.sockets = []
window.WebSocket = class extends Socket {
  constructor(...all) {
    super(...all)
    window.sockets.push(this)
  }
}
"""
# Failed requests stand in the console, too, and the page says so to people; the last is of the lines above.
EXPECTED = ("Failed to load resource", "WebSocket connection to", "The ScriptProcessorNode is deprecated")


def pytest_collection_modifyitems(items):
    for item in items:
        if "e2e/page" in str(item.path):
            item.add_marker(pytest.mark.e2e)
            if not item.get_closest_marker("walk"):
                item.add_marker(pytest.mark.page)


@pytest.fixture(scope="module")
def chromium():
    """`chromium(*flags)` starts one more browser."""
    # As short as a module's tests: while it lives, nothing else in this thread can run an event loop.
    with sync_playwright() as playwright, contextlib.ExitStack() as stack:
        yield lambda *flags: stack.enter_context(
            contextlib.closing(playwright.chromium.launch(**launching(), args=[*FLAGS, *flags]))
        )


@pytest.fixture(scope="module")
def browser(chromium):
    return chromium()


class Visits:
    """Opens pages, and keeps what they complain about and whom they ask."""

    def __init__(self, url):
        self.url, self.complaints, self.strangers = url, [], []

    def __call__(self, browser, place, language="en", scheme="light", width=1280, height=800, url=None, **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, locale=LOCALES[language], color_scheme=scheme, **options
        )
        context.add_init_script(WATCH)
        context.set_default_timeout(WITHIN_MS)
        return self.open(context, place, url or self.url)

    def open(self, context, place, url=None):
        page, home = context.new_page(), url or self.url
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request, home))
        page.goto(f"{home}/#{place}")
        return page

    def _heard(self, message):
        if message.type in ("error", "warning") and not message.text.startswith(EXPECTED):
            self.complaints.append(message.text)

    def _asked(self, request, home):
        if request.url.startswith(("http", "ws")) and urlsplit(request.url).netloc != urlsplit(home).netloc:
            self.strangers.append(request.url)


@pytest.fixture
def visit(gateway_url):
    """`visit(browser, place, language, scheme, width)`: a new page, as a newcomer has it."""
    visits = Visits(gateway_url)
    yield visits
    assert visits.complaints == []  # violations of the content security policy would stand here
    assert visits.strangers == []


@pytest.fixture(scope="session")
def say(gateway_url):
    """Text as int16 samples, spoken by the server."""

    def spoken(text):
        wish = {"model": "tts", "voice": "alloy", "input": text, "response_format": "pcm"}
        return np.frombuffer(httpx.post(f"{gateway_url}/v1/audio/speech", json=wish, timeout=60).content, "<i2")

    return spoken


@pytest.fixture(scope="session")
def heard(gateway_url):
    """The words in what a page has played, as Whisper hears them."""

    def words_of(page):
        script = "() => btoa(String.fromCharCode(...new Uint8Array(new Float32Array(window.played).buffer.slice(0))))"
        played = page.evaluate(script.replace("String.fromCharCode(...", "letters(").replace("letters(", LETTERS))
        samples = np.frombuffer(base64.b64decode(played), np.float32)
        files = {"file": ("played.wav", wav(samples))}
        told = httpx.post(f"{gateway_url}/v1/audio/transcriptions", files=files, data={"model": "whisper"}, timeout=60)
        return words(told.json()["text"])

    return words_of


LETTERS = "((bytes) => bytes.reduce((all, byte) => all + String.fromCharCode(byte), ''))("
