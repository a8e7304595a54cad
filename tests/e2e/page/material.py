"""Pictures, sounds and words for the tests of the page."""

import io
from random import Random

import numpy as np
import soundfile

from tritone.vision.shapes import draw_scene, render

RATE = 24_000


def png(*pairs, seed=1, size=256):
    """A drawn picture as a file."""
    file = io.BytesIO()
    render(draw_scene(Random(seed), pairs=list(pairs)), size).save(file, "PNG")
    return file.getvalue()


def upload(name, content, kind="image/png"):
    return {"name": name, "mimeType": kind, "buffer": content}


def wav(samples):
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)


def words(text):
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter.isspace()).split()
