"""Search among pictures on the real server: what is found is what was asked for, and bad requests fail alone."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tritone.vision.shapes import draw_scene, render
from tritone_client import ImageIndex, InvalidInput, TextTruncated

pytestmark = pytest.mark.e2e
PAIRS = (
    ("red", "circle"), ("red", "square"), ("blue", "circle"), ("green", "star"), ("yellow", "heart"),
    ("purple", "cross"), ("pink", "triangle"), ("black", "square"),
)  # fmt: skip
QUERIES = {
    "a red circle": 0, "一个红色的圆形": 0, "a red square": 1, "蓝色的圆形": 2, "green star": 3,
    "图片里有一个黄色的心形": 4, "a picture of a purple cross": 5, "粉色三角形": 6, "a black square": 7,
}  # fmt: skip


def png(*pairs, seed=0, size=200):
    file = io.BytesIO()
    render(draw_scene(Random(seed), pairs=list(pairs)), size).save(file, "PNG")
    return file.getvalue()


PICTURES = [png(pair, seed=seed) for seed, pair in enumerate(PAIRS)]


def test_the_picture_that_was_described_comes_first_in_both_languages(client):
    found = {query: client.rank(query, PICTURES)[0].index for query in QUERIES}
    assert found == QUERIES


def test_a_pictures_own_words_come_first(client):
    colours, shapes = ["a red shape", "a blue shape", "绿色的图形"], ["a circle", "a star", "正方形"]
    assert client.rank(PICTURES[2], colours)[0].candidate == "a blue shape"
    assert client.rank(PICTURES[3], colours)[0].candidate == "绿色的图形"
    assert client.rank(PICTURES[0], shapes)[0].candidate == "a circle"
    assert client.rank(PICTURES[7], shapes)[0].candidate == "正方形"


def test_both_languages_mean_the_same(client):
    english, chinese = client.embed_text(["a red circle", "红色的圆形"])
    [other] = client.embed_text("a yellow star")
    assert english @ chinese > english @ other + 0.2


def test_embeddings_have_length_one_and_are_the_same_alone_and_in_a_crowd(client):
    texts = [*QUERIES, *(f"{size} {colour} {shape}" for size in ("small", "big") for colour, shape in PAIRS)] * 4
    crowd = client.embed_text(texts)
    assert crowd.dtype == np.float32
    assert np.abs(np.linalg.norm(crowd, axis=1) - 1).max() < 1e-6
    alone = np.concatenate([client.embed_text(text) for text in texts[:8]])
    assert np.abs(crowd[:8] - alone).max() < 3e-6
    seen = client.embed_images(PICTURES * 6)
    assert np.abs(np.linalg.norm(seen, axis=1) - 1).max() < 1e-6
    assert np.abs(seen[:8] - np.concatenate([client.embed_images(picture) for picture in PICTURES])).max() < 3e-6


def test_many_texts_at_a_time_share_batches(server, client):
    """The server's own count: fewer runs of the network than texts."""
    with tritonclient.grpc.InferenceServerClient(server.grpc) as raw:

        def counts():
            [found] = raw.get_inference_statistics("clip_text_encoder").model_stats
            return found.inference_count, found.execution_count

        before = counts()
        client.embed_text([f"{number} red circles" for number in range(200)])
        texts, runs = np.subtract(counts(), before)
    assert texts == 200
    assert runs < 100


def test_a_text_over_77_tokens_says_that_it_was_cut(client):
    with pytest.warns(TextTruncated, match=r"1 of 2 .*texts\[1\]"):
        whole = client.embed_text(["a red circle", "a red circle and " * 30])
    assert whole.shape[0] == 2


def test_an_index_finds_saves_and_skips(client, tmp_path):
    folder = tmp_path / "图片"
    (folder / "more").mkdir(parents=True)
    for number, picture in enumerate(PICTURES):
        place = folder / "more" if number % 2 else folder
        (place / f"{number} {'_'.join(PAIRS[number])}.png").write_bytes(picture)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    index = ImageIndex.build(client, folder, progress=False)
    assert len(index) == len(PICTURES)
    assert set(index.skipped) == {"broken.jpg", "empty.png"}
    assert "empty" in index.skipped["empty.png"]
    index.save(tmp_path / "index")
    loaded = ImageIndex.load(tmp_path / "index")
    for query, number in QUERIES.items():
        best = loaded.search(client, query, 3)
        assert best[0].candidate.name.startswith(f"{number} ")
        assert best[0].score > best[1].score > best[2].score
    by_picture = loaded.search(client, folder / "0 red_circle.png", 1)
    assert by_picture[0].candidate == folder / "0 red_circle.png"
    assert by_picture[0].score == pytest.approx(1, abs=1e-5)


BAD_PICTURES = {
    "empty": (b"", "empty"),
    "random bytes": (b"\x00\x01" * 300, "no readable"),
    "a text file": ("这不是图片".encode() * 100, "no readable"),
    "a PNG cut short": (PICTURES[0][:800], "damaged"),
    "thread-thin": (np.zeros((1, 500, 3), np.uint8), "100 times"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_fails_alone_with_a_clear_sentence(client, name):
    data, sentence = BAD_PICTURES[name]
    with ThreadPoolExecutor(8) as pool:
        good = [pool.submit(client.embed_images, picture) for picture in PICTURES]
        with pytest.raises(InvalidInput, match=sentence):
            client.embed_images([data])
        seen = np.concatenate([answer.result() for answer in good])
    assert np.abs(seen - client.embed_images(PICTURES)).max() < 3e-6


def test_the_place_of_a_bad_picture_in_a_list_is_named(client):
    with pytest.raises(InvalidInput, match=r"images\[2\]: .*empty"):
        client.embed_images([PICTURES[0], PICTURES[1], b"", PICTURES[2]])


@pytest.mark.parametrize(
    ("name", "rows", "sentence"),
    [
        ("empty text", [[b""]], "empty"),
        ("blank text", [[b" \n "]], "empty"),
        ("text over the limit", [[b"x" * 10_001]], "10001"),
        ("text that is not UTF-8", [[b"caf\xe9"]], "0xe9 at offset 3"),
        ("two rows", [[b"a"], [b"b"]], "batch-size must be <= 1"),
        ("a wrong shape", [[b"a", b"b"]], "shape"),
    ],
)
def test_bad_text_fails_alone_with_a_clear_sentence(server, client, name, rows, sentence):
    tensor = tritonclient.grpc.InferInput("text", [len(rows), len(rows[0])], "BYTES")
    tensor.set_data_from_numpy(np.array(rows, np.object_))
    with ThreadPoolExecutor(8) as pool, tritonclient.grpc.InferenceServerClient(server.grpc) as raw:
        good = [pool.submit(client.embed_text, "a red circle") for _ in range(8)]
        with pytest.raises(InferenceServerException, match=sentence) as caught:
            raw.infer("clip_text", [tensor], client_timeout=60)
        assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert all(np.abs(answer.result() - client.embed_text("a red circle")).max() < 3e-6 for answer in good)


def test_bad_tensors_sent_to_a_network_itself_fail_alone(server, client):
    """Two users' rows in one batch, one of them with a token that does not exist."""
    ids = np.full((1, 77), -5, np.int32)
    tensor = tritonclient.grpc.InferInput("input_ids", [1, 77], "INT32")
    tensor.set_data_from_numpy(ids)
    with ThreadPoolExecutor(8) as pool, tritonclient.grpc.InferenceServerClient(server.grpc) as raw:
        good = [pool.submit(client.embed_text, "a red circle") for _ in range(8)]
        with pytest.raises(InferenceServerException, match="-5"):
            raw.infer("clip_text_encoder", [tensor], client_timeout=60)
        assert all(answer.result().shape == good[0].result().shape for answer in good)


def test_the_scripts_build_an_index_and_search_it(server, tmp_path):
    import subprocess
    import sys

    scripts = Path(__file__).parents[2] / "scripts"
    for number, picture in enumerate(PICTURES):
        (tmp_path / f"{number}.png").write_bytes(picture)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    index = tmp_path / "index"

    def run(script, *arguments):
        command = [sys.executable, scripts / script, *arguments, "--url", server.grpc]
        return subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")

    built = run("build_image_index.py", tmp_path, index)
    assert "broken.png" in built.stderr
    assert "8 pictures" in built.stdout
    assert "0.png" in run("search_images.py", index, "一个红色的圆形").stdout.splitlines()[0]
    assert "3.png" in run("search_images.py", index, "--picture", tmp_path / "3.png", "--count", "1").stdout
