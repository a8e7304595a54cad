"""embed_text, embed_images, rank and ImageIndex over a transport that embeds by a rule one can follow by eye."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from tritone_client import (
    AsyncClient,
    Client,
    ImageIndex,
    InvalidInput,
    MockTransport,
    ServerUnavailable,
    TextTruncated,
)
from tritone_client.verbs.connection import IN_FLIGHT

AXES = ("red", "green", "blue")


def vector(words: str) -> list[float]:
    """One direction per colour named."""
    values = np.array([words.count(axis) for axis in AXES], float) + 1e-3
    return (values / np.linalg.norm(values)).tolist()


def answer(request):
    if request.model == "clip_text":
        words = request.text("text")
        return {"text_embeds": vector(words), "token_count": 5, "truncated": len(words) > 40}
    words = bytes(request.inputs["image_bytes"][0, 0]).decode()
    if "broken" in words:
        raise InvalidInput("no readable picture", model=request.model, request_id=request.request_id)
    return {"image_embeds": vector(words)}


@pytest.fixture
def transport():
    return MockTransport(answer)


@pytest.fixture
def client(transport, connect):
    return connect(transport=transport)


def test_texts_come_back_in_order_as_one_array(client):
    texts = [AXES[number % 3] for number in range(200)]
    found = client.embed_text(texts)
    assert (found.shape, found.dtype) == ((200, 3), np.float32)
    assert np.array_equal(found.argmax(1), np.arange(200) % 3)


def test_a_single_text_or_picture_is_a_list_of_one(client):
    assert client.embed_text("red").shape == (1, 3)
    assert client.embed_images(b"green").argmax() == 1
    assert client.embed(b"blue").shape == (3,)


def test_nothing_in_gives_nothing_out(client, transport):
    assert len(client.embed_text([])) == len(client.embed_images([])) == 0
    assert client.rank("red", []) == []
    assert [request.model for request in transport.requests] == ["clip_text"]


def test_many_requests_are_in_flight_at_a_time():
    together = threading.Barrier(16)  # breaks, and fails the test, unless 16 requests wait at once

    def wait_for_the_others(request):
        together.wait(timeout=10)
        return answer(request)

    assert Client(transport=MockTransport(wait_for_the_others)).embed_text(["red"] * 32).shape == (32, 3)


def test_each_request_of_a_list_has_an_id_of_its_own(client, transport):
    client.embed_text(["red", "green"], request_id="search")
    assert sorted(request.request_id for request in transport.requests) == ["search-0", "search-1"]


def test_the_error_of_one_item_names_its_place_and_keeps_its_request(client):
    with pytest.raises(InvalidInput, match=r"images\[3\]: no readable picture") as caught:
        client.embed_images([b"red", b"green", b"blue", b"broken"], request_id="album")
    assert (caught.value.model, caught.value.request_id) == ("clip_image", "album-3")


def test_what_is_no_text_is_named_before_anything_is_sent(client, transport):
    with pytest.raises(InvalidInput, match=r"texts\[1\] is a bytes"):
        client.embed_text(["red", b"green"])
    assert transport.requests == []


def test_a_text_that_was_cut_warns_with_its_place(client):
    with pytest.warns(TextTruncated, match=r"1 of 2 .*texts\[1\]"):
        client.embed_text(["red", "red " * 20])
    with pytest.warns(TextTruncated, match=r"1 of 3 .*candidates\[1\]"):
        client.rank("red", ["green", "red " * 20])


def test_the_warning_is_of_the_callers_line_and_not_of_one_of_ours(transport):
    with pytest.warns(TextTruncated) as warned:
        Client(transport=transport).rank("red", ["green", "red " * 20])
    assert warned[0].filename == __file__
    with pytest.warns(TextTruncated) as warned:
        asyncio.run(embed_one_that_is_cut(AsyncClient(transport=transport)))
    assert warned[0].filename == __file__


async def embed_one_that_is_cut(client):
    await client.embed_text("red " * 20)


def test_an_event_loop_has_as_many_in_flight(transport):
    class Crowd(MockTransport):
        most = now = 0

        async def ainfer(self, request):
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0)
            self.now -= 1
            return self.infer(request)

    crowd = Crowd(answer)
    assert asyncio.run(AsyncClient(transport=crowd).embed_text(["red"] * 300)).shape == (300, 3)
    assert crowd.most == IN_FLIGHT


def test_an_index_is_built_and_searched_on_an_event_loop(transport, tmp_path):
    async def find():
        client = AsyncClient(transport=transport)
        index = await ImageIndex.abuild(client, tmp_path / "album", progress=False)
        return index.skipped, await index.asearch(client, "blue", 1)

    write(tmp_path / "album", one="red", two="blue", bad="broken")
    skipped, [match] = asyncio.run(find())
    assert skipped == {"bad.png": "no readable picture"}
    assert match.candidate == tmp_path / "album" / "two.png"


def test_rank_puts_the_best_first_whatever_the_candidates_are(client):
    ranked = client.rank("red red green", ["blue", b"red", "green"])
    assert [match.index for match in ranked] == [1, 2, 0]
    assert ranked[0].candidate == b"red"
    assert ranked[0].score == pytest.approx(2 / 5**0.5, abs=0.01)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in files.items():
        (folder / f"{name}.png").write_bytes(words.encode())


def test_an_index_is_built_saved_loaded_and_searched(client, tmp_path):
    write(tmp_path / "album", one="red", two="green", bad="broken")
    write(tmp_path / "album" / "更多", three="blue blue green")
    index = ImageIndex.build(client, tmp_path / "album", progress=False)
    assert index.skipped == {"bad.png": "no readable picture"}
    index.save(tmp_path / "index")
    index.save(tmp_path / "index")  # again, over the old one
    loaded = ImageIndex.load(tmp_path / "index")
    assert len(loaded) == 3
    first, second, third = loaded.search(client, "blue", 10)
    assert (first.candidate, first.candidate.exists()) == (tmp_path / "album" / "更多" / "three.png", True)
    assert first.score > second.score >= third.score
    assert loaded.search(client, Path(tmp_path / "album" / "two.png"), 1)[0].candidate.name == "two.png"
    assert not list(tmp_path.glob(".index*"))


def test_an_index_of_another_checkpoint_is_refused(client, tmp_path):
    index = ImageIndex(tmp_path, ["a.png"], np.ones((1, 7), np.float32))
    with pytest.raises(InvalidInput, match=r"7 numbers.* 3"):
        index.search(client, "red")


def test_a_server_that_is_gone_ends_the_building(connect, tmp_path):
    def gone(request):
        raise ServerUnavailable("nobody there")

    write(tmp_path / "album", one="red")
    with pytest.raises(ServerUnavailable, match="nobody there"):
        ImageIndex.build(connect(transport=MockTransport(gone)), tmp_path / "album", progress=False)


@pytest.mark.parametrize(("files", "named"), [({}, "has no"), ({"bad": "broken"}, "no readable")])
def test_a_folder_without_a_picture_is_refused_with_the_reason(client, tmp_path, files, named):
    write(tmp_path / "album", **files)
    with pytest.raises(InvalidInput, match=named):
        ImageIndex.build(client, tmp_path / "album", progress=False)


def test_no_folder_no_index_and_a_wrong_count_are_refused(client, tmp_path):
    with pytest.raises(InvalidInput, match="is no folder"):
        ImageIndex.build(client, tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="holds no readable index"):
        ImageIndex.load(tmp_path)
    (tmp_path / "precious").mkdir()
    index = ImageIndex(tmp_path, ["a.png"], np.ones((1, 3), np.float32))
    with pytest.raises(InvalidInput, match="is no index"):
        index.save(tmp_path / "precious")
    with pytest.raises(InvalidInput, match="count is 0"):
        index.search(client, "red", 0)


def test_a_damaged_index_is_refused(client, tmp_path):
    ImageIndex(tmp_path, ["a.png"], np.ones((1, 3), np.float32)).save(tmp_path / "index")
    (tmp_path / "index" / "vectors.faiss").write_bytes(b"not faiss")
    with pytest.raises(InvalidInput, match="holds no readable index"):
        ImageIndex.load(tmp_path / "index")
