"""Which browser the tests use, and how it is started."""

import os

from install_chromium import INTO, installed, on_the_machine

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)


def launching():
    """Arguments of Playwright's `launch`: this machine's browser, or that of scripts/install_chromium.py."""
    if path := on_the_machine():
        return {"executable_path": path}
    assert installed(), "there is no Chromium: run scripts/install_chromium.py, as `make test` does"
    return {"executable_path": str(INTO / "chromium"), "env": {**os.environ, "LD_LIBRARY_PATH": str(INTO / "lib")}}
