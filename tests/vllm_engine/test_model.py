"""The model.py of `llava` over the real vLLM, under a fake `triton_python_backend_utils` (`make vllm`)."""

import time
from random import Random

import numpy as np
import pytest
import triton_python_backend_utils as pb_utils
from server.conftest import Served

from tritone.media.image import encode_png
from tritone.vision.shapes import draw_scene, render

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]  # vLLM is three processes, each of which imports torch


@pytest.fixture(scope="module")
def llava():
    served = Served("llava", [("engine", "vllm"), ("slots", "4")])
    yield served
    served.model.finalize()


@pytest.fixture(scope="module")
def picture():
    return encode_png(np.asarray(render(draw_scene(Random(0), pairs=[("red", "circle")]), 128)))


def test_it_streams_pieces_that_join_to_the_whole_answer(llava, picture):
    inputs = {"text_input": ["What color is the circle?"], "image_bytes": [[picture]]}
    pieces, clauses, whole = llava.execute(
        llava.request(**inputs),
        llava.request(**inputs, stream_unit=["clause"]),
        llava.request(**inputs, stream_unit=["none"]),
    )
    assert whole[0]["text_output"][0] == b"The circle is red."
    for responses in (pieces, clauses):
        assert b"".join(piece["text_output"][0] for piece in responses) == b"The circle is red."
        assert [piece["finish_reason"][0] for piece in responses][-1] == b"stop"
    assert len(pieces) > len(whole) == 1


def test_a_wish_over_a_limit_is_refused_with_the_same_sentence(llava):
    [[refused]] = llava.execute(llava.request(text_input=["x"], max_tokens=[10**6]))
    assert refused.error().code() == pb_utils.TritonError.INVALID_ARG
    assert "max_tokens is 1000000, must be 1 to 512" in refused.error().message()


def test_it_shows_the_same_numbers_on_the_metrics_page(llava):
    llava.execute(llava.request(text_input=["Hello."], max_tokens=[2]))
    shown = pb_utils.MetricFamily.shown
    deadline = time.monotonic() + 5
    while shown["tritone_llava_finished_total", "llava_0"].value() < 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert shown["tritone_llava_slots", "llava_0"].value() == 4
