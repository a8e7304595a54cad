"""CLIP ViT-B/32 in its true shape on a GPU that is not there."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda import count_synchronisations, fake_cuda
from transformers import CLIPConfig, CLIPModel

from tritone.vision.clip import ImageEncoder, TextEncoder

DEVICE, END = "cuda:1", 49_407

pytestmark = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])


@pytest.fixture
def card(monkeypatch):
    config = CLIPConfig(text_config={"eos_token_id": END}, projection_dim=512)
    monkeypatch.setattr(CLIPModel, "from_pretrained", lambda _, dtype, **options: CLIPModel(config).to(dtype))
    with fake_cuda(number=76) as card:  # where a text ends
        yield card


def test_texts_go_there_and_unit_vectors_come_back(card, dtype):
    encoder = TextEncoder.load(Path(), DEVICE, dtype)
    with count_synchronisations() as waits:
        embeddings = encoder.encode([np.full(77, END, np.int32)] * 3)
    assert (embeddings.shape, embeddings.dtype) == ((3, 512), np.float32)
    assert len(waits) == 3, waits.found  # tokens and ends go there, embeddings come back
    assert (3, 77, 512) in card.shapes(getattr(torch, dtype))
    assert (49_408, 512) not in card.shapes(torch.float32)


def test_pictures_go_there_and_unit_vectors_come_back(card, dtype):
    encoder = ImageEncoder.load(Path(), DEVICE, dtype)
    with count_synchronisations() as waits:
        embeddings = encoder.encode([np.zeros((3, 224, 224), np.float32)] * 3)
    assert (embeddings.shape, embeddings.dtype) == ((3, 512), np.float32)
    assert len(waits) == 2, waits.found  # pixels go there, embeddings come back
    assert (3, 50, 768) in card.shapes(getattr(torch, dtype))
    assert (768, 3, 32, 32) not in card.shapes(torch.float32)
