"""CLIP: texts and pictures to points of one space, where what belongs together lies close together.

Any checkpoint of transformers' CLIPModel. Each half is two objects: words → `Tokenizer` → `TextEncoder`, picture →
`ImageProcessor` → `ImageEncoder`; the first ones are in `clip_inputs`, the second ones are networks and take what many
users sent at once. All embeddings have length 1, so their dot product is the cosine of the angle between them. This
file knows nothing of Triton.

Both networks are read at one token alone: text at its end, a picture at its class token. So their last layer is asked
for that token only, which saves almost a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize, scaled_dot_product_attention
from transformers import CLIPModel

from tritone.errors import InvalidInput
from tritone.precision import torch_dtype
from tritone.vision.clip_inputs import ImageProcessor as ImageProcessor
from tritone.vision.clip_inputs import PixelValues, Tokens
from tritone.vision.clip_inputs import Tokenizer as Tokenizer

# For a text encoder whose config.json says 2, transformers takes the largest token, not this number, for the end of
# the text: OpenAI's own checkpoints carry the wrong number.
LEGACY_EOS = 2

Embeddings = NDArray[np.float32]


class TextEncoder:
    """Tokens to unit vectors.

    The tower is causal and the embedding is read at the end-of-text token, so nothing behind that token can change
    it: a batch is computed only as far as its longest text reaches.
    """

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self.width: int = model.config.projection_dim
        self.context: int = model.config.text_config.max_position_embeddings
        self.vocabulary: int = model.config.text_config.vocab_size
        self.eos: int = model.config.text_config.eos_token_id

    @classmethod
    def load(cls, directory: Path, device: str, dtype: str) -> TextEncoder:
        """Load the text half of a CLIPModel checkpoint and run it once."""
        model = _load(directory, device, dtype)
        del model.vision_model
        encoder = cls(model.to(device))
        encoder.warm_up()
        return encoder

    def warm_up(self) -> None:
        """Encode an empty text."""
        self.encode([np.full(self.context, self.eos, np.int32)])

    def prepare(self, input_ids: Tokens) -> Tokens:
        """The tokens, if `encode` can take them; InvalidInput if their number, values or end are wrong."""
        if input_ids.shape != (self.context,):
            raise InvalidInput(f"input_ids must have shape [{self.context}], got {list(input_ids.shape)}")
        if input_ids.min() < 0 or input_ids.max() >= self.vocabulary:
            wrong = next(int(token) for token in input_ids if not 0 <= token < self.vocabulary)
            raise InvalidInput(f"input_ids hold {wrong}, must be 0 to {self.vocabulary - 1}")
        if self.eos != LEGACY_EOS and self.eos not in input_ids:
            raise InvalidInput(f"input_ids have no end-of-text token ({self.eos}), at which the embedding is read")
        return input_ids

    @torch.inference_mode()
    def encode(self, texts: Sequence[Tokens]) -> Embeddings:
        """Unit vectors float32 (texts, width) of prepared tokens."""
        ids = torch.from_numpy(np.stack(texts))  # (texts, context)
        ends = ids.argmax(-1) if self.eos == LEGACY_EOS else (ids == self.eos).int().argmax(-1)
        device = self._model.device
        needed, ends = ids[:, : int(ends.max()) + 1].to(device, torch.long), ends.to(device)
        tower = self._model.text_model
        states = tower.embeddings(input_ids=needed)
        *lower, last = tower.encoder.layers
        for layer in lower:
            states = layer(states, None, is_causal=True)
        before = torch.arange(needed.shape[1], device=device) <= ends[:, None]  # (texts, length)
        state = tower.final_layer_norm(_one_token(last, states, ends, before[:, None, None]))
        return _unit(self._model.text_projection(state))


class ImageEncoder:
    """Normalised pixels to unit vectors."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval()
        self.width: int = model.config.projection_dim
        self.side: int = model.config.vision_config.image_size

    @classmethod
    def load(cls, directory: Path, device: str, dtype: str) -> ImageEncoder:
        """Load the image half of a CLIPModel checkpoint and run it once."""
        model = _load(directory, device, dtype)
        del model.text_model
        encoder = cls(model.to(device))
        encoder.warm_up()
        return encoder

    def warm_up(self) -> None:
        """Encode a grey picture."""
        self.encode([np.zeros((3, self.side, self.side), np.float32)])

    def prepare(self, pixel_values: PixelValues) -> PixelValues:
        """The pixels, if `encode` can take them; InvalidInput if their shape or values are wrong."""
        shape = (3, self.side, self.side)
        if pixel_values.shape != shape:
            raise InvalidInput(f"pixel_values must have shape {list(shape)}, got {list(pixel_values.shape)}")
        if not np.isfinite(pixel_values).all():
            raise InvalidInput("pixel_values hold values that are no numbers (NaN or infinity)")
        return pixel_values

    @torch.inference_mode()
    def encode(self, pictures: Sequence[PixelValues]) -> Embeddings:
        """Unit vectors float32 (pictures, width) of prepared pixels."""
        pixels = torch.from_numpy(np.stack(pictures))  # (pictures, 3, side, side)
        tower = self._model.vision_model
        states = tower.pre_layrnorm(tower.embeddings(pixels.to(self._model.device, self._model.dtype)))
        *lower, last = tower.encoder.layers
        for layer in lower:
            states = layer(states, None)
        state = _one_token(last, states, torch.zeros(len(pictures), dtype=torch.long, device=states.device))
        return _unit(self._model.visual_projection(tower.post_layernorm(state)))


def _load(directory: Path, device: str, dtype: str) -> Any:
    """A CLIPModel in the memory of the CPU; half of it is all that goes further."""
    return CLIPModel.from_pretrained(directory, dtype=torch_dtype(dtype, device), local_files_only=True)


def _one_token(
    layer: Any, states: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """What a CLIPEncoderLayer makes of one token of each row.

    Args:
        states: (batch, length, width).
        tokens: which one, (batch,).
        mask: bool (batch, 1, 1, length), the tokens that it sees; all when None.

    Returns: (batch, width).
    """
    attention, batch = layer.self_attn, len(states)
    rows = torch.arange(batch, device=states.device)
    normed = layer.layer_norm1(states)

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(batch, -1, attention.num_heads, attention.head_dim).transpose(1, 2)

    query = heads(attention.q_proj(normed[rows, tokens]))
    key, value = heads(attention.k_proj(normed)), heads(attention.v_proj(normed))
    mixed = scaled_dot_product_attention(query, key, value, mask, scale=attention.scale)  # (batch, heads, 1, head_dim)
    state: torch.Tensor = states[rows, tokens] + attention.out_proj(mixed.flatten(1))
    state += layer.mlp(layer.layer_norm2(state))
    return state


def _unit(embeds: torch.Tensor) -> Embeddings:
    """Rows of length 1; the length is taken in float32 whatever the network's type."""
    vectors: Embeddings = normalize(embeds.float(), dim=-1).cpu().numpy()
    return vectors
