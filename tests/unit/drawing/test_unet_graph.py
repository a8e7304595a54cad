"""The UNet's usual step as a CUDA graph, by a stand-in that does what it saw at the capture."""

import pytest
import tiny_diffusion
import torch
from fakes.fake_graph import FakeCapture

from tritone.drawing import diffusion_networks
from tritone.drawing.diffusion_networks import UNet


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A tiny UNet as on a GPU: its rows in one thread, and with or without a capture."""
    tiny_diffusion.pipeline().unet.save_pretrained(tmp_path / "unet")
    monkeypatch.setattr(diffusion_networks, "share_rows", lambda network, device: network)

    def load(capture):
        monkeypatch.setattr(diffusion_networks, "capture_on", lambda device, wanted: capture if wanted else None)
        return UNet(tmp_path, "cpu", "float32", cuda_graphs=True)

    return load


def step(rows, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(rows, 4, side, side, generator=generator)
    return latents, 900.0 * torch.rand(rows, 1, generator=generator), torch.randn(rows, 77, 32, generator=generator)


def test_one_picture_of_the_usual_size_is_a_graph_and_all_others_are_as_before(load):
    capture = FakeCapture()
    graphed, plain = load(capture), load(None)
    [graph] = capture.graphs
    assert (graphed.describe(), len(plain.graphs)) == ("CUDA graphs: 1", 0)
    for number, (rows, side, launches) in enumerate([(2, 16, 1), (2, 16, 2), (4, 16, 2), (2, 8, 2), (2, 16, 3)]):
        tried = 2  # once when it was made, once to warm up
        found, expected = (unet(*step(rows, side, number))["noise_pred"] for unet in (graphed, plain))
        assert torch.allclose(found, expected, atol=1e-5)
        assert graph.replays - tried == launches


def test_a_unet_that_cannot_be_captured_is_served_without_a_graph(load):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    unet = load(refuse)
    assert unet.describe() == "CUDA graphs: none (RuntimeError: operation not permitted when stream is capturing)"
    assert unet(*step(2))["noise_pred"].isfinite().all()
