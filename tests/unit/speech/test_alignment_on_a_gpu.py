"""wav2vec2's two kinds, base and large-lv60 with fewer layers, on a GPU that is not there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_cuda import count_synchronisations, fake_cuda
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from tritone.speech.alignment import Aligner

DEVICE, SECOND = "cuda:1", 16_000
TOKENIZER = SimpleNamespace(get_vocab=lambda: {"<pad>": 0, "|": 4, "A": 7}, pad_token_id=0, word_delimiter_token="|")
KINDS = {
    "group": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "layer": {
        "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "conv_bias": True,
        "do_stable_layer_norm": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", KINDS)
def test_sound_goes_there_and_letters_come_back(norm, dtype):
    with fake_cuda(number=SECOND) as card:  # the longest piece
        config = Wav2Vec2Config(vocab_size=32, num_hidden_layers=2, feat_extract_norm=norm, **KINDS[norm])
        model = Wav2Vec2ForCTC(config).eval().to(dtype).to(DEVICE)
        aligner = Aligner(model, SimpleNamespace(feature_extractor=None, tokenizer=TOKENIZER), 60.0)
        card.placed.clear()
        with count_synchronisations() as waits:
            emissions = aligner._emissions([np.zeros(SECOND, np.float32)] * 3)
    assert [(each.shape, each.dtype, each.device.type) for each in emissions] == [((49, 32), torch.float32, "cpu")] * 3
    assert (3, 49, KINDS[norm]["hidden_size"]) in card.shapes(dtype)
    there = 2 if norm == "layer" else 1  # the sound, and which of it is padding
    assert len(waits) == there + 1, waits.found
