"""`tritone draw` and `search`, and `models`."""

import importlib
import io
import json
import os
import pty
import sys
import termios

import numpy as np
import pytest
from PIL import Image

drawing = importlib.import_module("tritone_client.cli.draw")  # the file, not the function in it

PIXELS = np.zeros((1, 2, 8, 8, 3), np.uint8)
STEPS = [{"step": number, "num_steps": 2} for number in (1, 2)]
DRAWN = {"image": PIXELS, "image_png": [b"\x89PNG one", b"\x89PNG two"], "seed": [7, 8], "prompt_tokens": 5}


def draw(request):
    return [*STEPS, DRAWN | {"truncated_text": ""}]


def draw_one(request):
    return [
        *STEPS,
        DRAWN | {"image": PIXELS[:, :1], "image_png": [b"\x89PNG one"], "seed": [7], "truncated_text": "云"},
    ]


class TestDraw:
    def test_a_picture(self, tritone, tmp_path):
        out = tmp_path / "圆.png"
        run = tritone(draw_one, "draw", "一个红色的圆形", "-o", out, "--style", "油画", "--size", "16x8")
        assert (run.code, run.said) == (0, "")
        assert run.about == f"{out}: --seed 7 draws it again\ntritone: the prompt is too long, this was not read: 云\n"
        assert out.read_bytes() == b"\x89PNG one"
        assert run.requests[0].model == "stable_diffusion"
        assert run.sent() == {
            "prompt": ["一个红色的圆形".encode()], "style": ["油画".encode()], "width": [16], "height": [8],
        }  # fmt: skip

    def test_from_a_picture(self, tritone, tmp_path):
        image, mask = tmp_path / "image.png", tmp_path / "mask.png"
        image.write_bytes(b"an image")
        mask.write_bytes(b"a mask")
        run = tritone(
            draw_one, "draw", "-", "-o", "-", "--image", image, "--mask", mask, "--strength", 0.5, "--seed", 7,
            "--steps", 9, "--negative", "blue", "--size", "64", "--guidance", 2, "--scheduler", "euler",
            stdin="圆".encode(),
        )  # fmt: skip
        assert run.result.stdout_bytes == b"\x89PNG one"
        assert run.sent() == {
            "prompt": ["圆".encode()], "image_bytes": [b"an image"], "mask_bytes": [b"a mask"], "strength": [0.5],
            "seed": [7], "num_inference_steps": [9], "negative_prompt": [b"blue"], "width": [64], "height": [64],
            "guidance_scale": [2.0], "scheduler": [b"euler"],
        }  # fmt: skip

    def test_several_are_numbered_and_json_names_them(self, tritone, tmp_path):
        run = tritone(draw, "draw", "circles", "-o", tmp_path / "c.png", "--count", 2, "--json")
        files = [tmp_path / "c-1.png", tmp_path / "c-2.png"]
        assert [path.read_bytes() for path in files] == [b"\x89PNG one", b"\x89PNG two"]
        pictures = [{"file": str(path), "seed": seed} for path, seed in zip(files, (7, 8), strict=True)]
        assert json.loads(run.said) == {"pictures": pictures, "prompt_tokens": 5, "truncated_text": ""}
        assert run.sent()["num_images"] == [2]

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ([], "there is no file to draw into: name one by -o circle.png, or -o - for standard output"),
            (
                ["-o", "-", "--count", 2],
                "--count is 2, but standard output takes 1 picture: name a file by -o circle.png",
            ),
            (["-o", "-", "--json"], "the file and the text about it both go to standard output: name a file by -o"),
        ],
    )
    def test_what_goes_nowhere_is_refused_before_it_is_drawn(self, tritone, arguments, sentence):
        run = tritone(draw, "draw", "circles", *arguments)
        assert (run.code, run.about, run.requests) == (2, f"tritone: {sentence}\n", [])

    @pytest.mark.parametrize("name", ["圆.gif", "circle", "c.png.txt"])
    def test_a_name_that_says_no_format_is_refused_before_it_is_drawn(self, tritone, tmp_path, name):
        run = tritone(draw, "draw", "circles", "-o", tmp_path / name, "--count", 2)
        said = f"tritone: {tmp_path / name} must end in one of .png, .jpg, .jpeg, .webp: that says the format\n"
        assert (run.code, run.about, run.requests) == (2, said, [])

    @pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
    def test_the_name_says_the_format(self, tritone, tmp_path, suffix, kind):
        blue = io.BytesIO()
        Image.new("RGB", (8, 8), (0, 0, 255)).save(blue, "PNG")
        one = {"image": PIXELS[:, :1], "image_png": [blue.getvalue()], "seed": [7], "truncated_text": ""}
        out = tmp_path / f"圆.{suffix}"
        assert tritone(lambda request: [*STEPS, DRAWN | one], "draw", "蓝色", "-o", out).code == 0
        with Image.open(out) as drawn:
            assert (drawn.format, drawn.size) == (kind, (8, 8))
            assert np.abs(np.array(drawn, int) - (0, 0, 255)).max() < 8

    def test_a_size_that_is_none(self, tritone):
        run = tritone(draw, "draw", "circles", "-o", "-", "--size", "huge")
        assert run.code == 2
        assert "'huge' must be WIDTHxHEIGHT" in run.about


def test_a_picture_is_shown_on_a_terminal_that_has_a_size(monkeypatch):
    terminal, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as stream:
        monkeypatch.setattr(sys, "__stdin__", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)
        assert not drawing._can_show()
        termios.tcsetwinsize(theirs, (40, 100))
        assert drawing._can_show()
        monkeypatch.setattr(sys, "__stdin__", None)
        assert not drawing._can_show()
    os.close(terminal)


VECTORS = {b"circle": [1.0, 0.0], b"square": [0.0, 1.0], "圆".encode(): [0.8, 0.6]}


def embed(request):
    if request.model == "clip_text":
        return {"text_embeds": VECTORS[request.text("text").encode()], "token_count": 3, "truncated": False}
    return {"image_embeds": VECTORS[request.inputs["image_bytes"][0, 0]]}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "图片"
    folder.mkdir()
    for name in (b"circle", b"square"):
        (folder / f"{name.decode()}.png").write_bytes(name)
    return folder


class TestSearch:
    def test_the_best_match_comes_first(self, tritone, folder):
        run = tritone(embed, "search", "圆", folder)
        assert (run.code, run.about) == (0, "")
        assert run.said == f"0.800\t{folder}/circle.png\n0.600\t{folder}/square.png\n"

    def test_words_that_are_cut_are_told(self, tritone, folder):
        def long(request):
            return embed(request) | ({"truncated": True} if request.model == "clip_text" else {})

        run = tritone(long, "search", "圆", folder, "--count", 1)
        assert run.said == f"0.800\t{folder}/circle.png\n"
        assert run.about == "tritone: 1 of 1 texts are longer than the model reads and were cut: the query\n"

    def test_by_a_picture(self, tritone, folder):
        assert tritone(embed, "search", folder / "square.png", folder, "--count", 1).said == (
            f"1.000\t{folder}/square.png\n"
        )

    def test_json(self, tritone, folder):
        assert json.loads(tritone(embed, "search", "circle", folder, "--json", "--count", 1).said) == {
            "query": "circle", "matches": [{"score": 1.0, "file": f"{folder}/circle.png"}], "skipped": {},
        }  # fmt: skip

    def test_an_index_is_kept_and_taken_the_next_time(self, tritone, folder, tmp_path):
        index = tmp_path / "kept.index"
        assert len(tritone(embed, "search", "圆", folder, "--index", index).requests) == 3
        (folder / "square.png").unlink()
        run = tritone(embed, "search", "圆", "--index", index)
        assert len(run.requests) == 1
        assert len(run.said.splitlines()) == 2
        assert run.about == f"2 pictures as {index} has them; --rebuild looks again\n"
        again = tritone(embed, "search", "圆", folder, "--index", index, "--rebuild")
        assert again.said == f"0.800\t{folder}/circle.png\n"

    def test_an_index_of_another_folder_is_not_searched(self, tritone, folder, tmp_path):
        index = tmp_path / "kept.index"
        tritone(embed, "search", "圆", folder, "--index", index)
        run = tritone(embed, "search", "圆", tmp_path, "--index", index)
        assert run.code == 2
        assert run.about.startswith(f"tritone: {index} is of {folder}, not of {tmp_path}: ")

    def test_without_a_folder(self, tritone):
        run = tritone(embed, "search", "圆")
        assert (run.code, run.about) == (
            2,
            'tritone: there is no folder to search: tritone search "a red circle" holiday/\n',
        )


def without_llava(model):
    return model != "llava"


class TestModels:
    def test_what_is_ready_for_each_verb(self, tritone):
        run = tritone(None, "models")
        assert run.code == 0
        assert "ask\tllava\tready\n" in run.said
        assert "search\tclip_image\tready\n" in run.said
        assert json.loads(tritone(None, "models", "draw", "--json").said) == {
            "server": "localhost:8001", "models": [{"for": "draw", "model": "stable_diffusion", "ready": True}],
        }  # fmt: skip

    def test_a_model_that_was_named_and_is_not_ready(self, tritone):
        run = tritone(None, "models", "talk", "llava", ready=without_llava)
        assert (run.code, run.said) == (3, "talk\tvoice_assistant_stream\tready\nllava\tllava\tnot ready\n")
        assert tritone(None, "models", ready=without_llava).code == 0

    def test_a_server_that_is_not_ready(self, tritone):
        run = tritone(None, "models", "--server", "gpu:8001", ready=False)
        assert (run.code, run.said) == (3, "")
        assert run.about == "tritone: gpu:8001 is not ready: `tritone models --wait` waits longer with --timeout\n"

    def test_waiting_ends_with_the_time_out(self, tritone):
        run = tritone(None, "models", "ask", "--wait", "--timeout", 0.2, ready=without_llava)
        assert run.code == 3
        assert run.about.startswith("tritone: llava at localhost:8001 is not ready: ")
