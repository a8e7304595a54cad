"""How results show themselves in a notebook."""

import base64
from pathlib import Path

import numpy as np
from unit.client.test_client_verbs import WAV

from tritone_client import (
    AlignedWord,
    Alignment,
    GeneratedImage,
    GeneratedImages,
    ImageProgress,
    Match,
    Matches,
    Reply,
    Segment,
    Speech,
    Transcript,
    Word,
)

PLAYER = f'<audio controls src="data:audio/wav;base64,{base64.b64encode(WAV).decode()}"></audio>'


def test_speech_is_a_player_with_what_is_not_read():
    assert Speech.from_wav(WAV)._repr_html_() == PLAYER
    silent = Speech(np.zeros(0, np.float32), 22_050, b"", note="not read aloud: a <table>")
    assert silent._repr_html_() == "<p>not read aloud: a &lt;table&gt;</p>"


def test_a_reply_is_the_question_the_answer_and_its_sound():
    reply = Reply("图里有什么？", "A circle.", Speech.from_wav(WAV), 1.5, "stop")
    assert reply._repr_html_() == f"<p>图里有什么？</p><p>A circle.</p>{PLAYER}"


def test_a_picture_is_its_file_and_several_are_a_row():
    image = GeneratedImage(np.zeros((1, 1, 3), np.uint8), b"\x89PNG", 7)
    shown = f'<img src="data:image/png;base64,{base64.b64encode(image.png).decode()}">'
    assert image._repr_png_() == b"\x89PNG"
    assert GeneratedImages((image, image), 5, "")._repr_html_() == shown * 2
    assert ImageProgress(2, 30, (b"\x89PNG",))._repr_html_() == f"<p>step 2 of 30</p>{shown}"


def test_a_transcript_is_a_table_of_segments_or_of_words():
    segments = (Segment(0.0, 1.25, "<b>Hi.</b>"),)
    shown = Transcript("<b>Hi.</b>", "en", 2.0, segments)._repr_html_()
    assert shown.startswith("<p>&lt;b&gt;Hi.&lt;/b&gt;</p><table>")
    assert "1.25</td>" in shown
    assert "<b>" not in shown
    assert "你好</td>" in Transcript("你好", "zh", 2.0, segments, (Word("你好", 0.0, 0.5),))._repr_html_()


def test_an_alignment_and_matches_are_tables():
    assert "0.75</td>" in Alignment((AlignedWord("Hi.", 0.0, 0.5, 0.75),), True, 1.0)._repr_html_()
    shown = Matches([Match(0, 0.489, Path("picture.png"))])._repr_html_()
    assert "picture.png</td>" in shown
    assert "0.49</td>" in shown
