"""What the tests of real models ask with, and how they read what is answered."""

import io
from random import Random

import soundfile
import triton_python_backend_utils as pb_utils

from tritone.media.audio import SAMPLING_RATE
from tritone.vision.shapes import draw_scene, render

INVALID, UNAVAILABLE = pb_utils.TritonError.INVALID_ARG, pb_utils.TritonError.UNAVAILABLE


def wav(samples, rate=SAMPLING_RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


def png(*pairs):
    file = io.BytesIO()
    render(draw_scene(Random(3), pairs=list(pairs)), 128).save(file, "PNG")
    return file.getvalue()


def message(response):
    assert response.has_error()
    return response.error().message()


def words(text):
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter.isspace()).split()


def plug(**models):
    """Make models reachable over BLS, as the server does."""

    def call(served):
        def answer(request):
            [responses] = served.execute(request)[:1]
            return responses if isinstance(responses, list) else [responses]

        return answer

    pb_utils.MODELS.update({name: call(served) for name, served in models.items()})
