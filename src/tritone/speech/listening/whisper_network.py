"""A Whisper network in the form that decoding wants: an encoder for any length, a decoder with static caches.

It takes its weights from `WhisperForConditionalGeneration` and gives the same numbers in float32. What differs is
where the time goes: projections of one input are one matrix, the keys and values of the sound are computed once, and
weights of lower precision are packed for the processor once. The stream between the layers stays float32.

Shapes: B rows, T tokens, S positions of 20 ms of sound, H heads, D numbers a head, V tokens in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import WhisperForConditionalGeneration

QUERY_BLOCK = 256  # positions whose attention scores fit the processor's cache

Tensors = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Place:
    """Where a network's numbers go, and in which precision."""

    device: torch.device
    dtype: torch.dtype

    def served(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight on the device in the served precision.

        It is converted before it goes there: what a device has held once stays reserved, twice the size for nothing.
        """
        return weight.detach().to(self.dtype).to(self.device)

    def exact(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight on the device in float32."""
        return weight.detach().float().to(self.device)

    @property
    def cache_dtype(self) -> torch.dtype:
        """Of keys and values. A processor attends to single tokens fastest in float32."""
        return torch.float32 if self.device.type == "cpu" else self.dtype


class Linear:
    """x (..., n_in) → (..., n_out) in the weights' precision, with GELU after it if wanted."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, place: Place, gelu: bool = False) -> None:
        self.weight = place.served(weight)
        self._bias = None if bias is None else place.served(bias)
        self._dtype, self._gelu = place.dtype, gelu
        # oneDNN's own layout; private operators of torch, whose version is pinned: half the time of F.linear here. On
        # a processor without AVX-512 they refuse bfloat16.
        packs = (
            place.device.type == "cpu"
            and place.dtype == torch.bfloat16
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight) if packs else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x in any precision → the projection in the weights' precision."""
        x = x.to(self._dtype)
        if self._packed is not None:
            after = "gelu" if self._gelu else "none"
            y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, self._bias, after, [], "none")
            return y
        y = functional.linear(x, self.weight, self._bias)
        return functional.gelu(y) if self._gelu else y


@dataclass
class Memory:
    """What the decoder attends to: keys and values of the sound, for each layer (B, H, S, D)."""

    layers: list[Tensors]
    mask: torch.Tensor | None  # (B, 1, 1, S): −inf where a shorter row has ended; None if all are as long

    def rows(self, index: torch.Tensor) -> Memory:
        """The memory of some rows."""
        layers = [(keys[index], values[index]) for keys, values in self.layers]
        return Memory(layers, None if self.mask is None else self.mask[index])

    def row(self, place: int) -> Memory:
        """The memory of one row, which is not copied."""
        return self.part(slice(place, place + 1))

    def part(self, own: slice) -> Memory:
        """The memory of neighbouring rows, which is not copied."""
        layers = [(keys[own], values[own]) for keys, values in self.layers]
        return Memory(layers, None if self.mask is None else self.mask[own])


@dataclass
class Cache:
    """What the decoder has seen: keys and values of the tokens for each layer (B, H, T, D), and which count."""

    layers: list[Tensors]
    mask: torch.Tensor | None  # (B, 1, 1, T): −inf at the padding before a shorter prompt; None without padding
    start: torch.Tensor  # (B, 1): column of each row's first token
    length: int = 0  # columns that are filled

    def rows(self, index: torch.Tensor) -> Cache:
        """The cache of some rows."""
        layers = [(keys[index], values[index]) for keys, values in self.layers]
        mask = None if self.mask is None else self.mask[index]
        return Cache(layers, mask, self.start[index], self.length)

    def part(self, own: slice) -> Cache:
        """The cache of neighbouring rows, which is not copied."""
        layers = [(keys[own], values[own]) for keys, values in self.layers]
        return Cache(layers, None if self.mask is None else self.mask[own], self.start[own], self.length)


class Network:
    """The encoder and the decoder of one checkpoint on one device."""

    def __init__(self, model: WhisperForConditionalGeneration, device: str, dtype: torch.dtype) -> None:
        """Takes the weights of a model that stays where it is, on the CPU."""
        self.config: Any = model.config
        place = Place(torch.device(device), dtype)
        self.device, self.dtype, self._cache_dtype = place.device, dtype, place.cache_dtype
        encoder, decoder = model.model.encoder, model.model.decoder
        self._convolutions = [
            Linear(convolution.weight.flatten(1), convolution.bias, place, gelu=True)
            for convolution in (encoder.conv1, encoder.conv2)
        ]
        self._encoder = [_EncoderLayer(layer, place) for layer in encoder.layers]
        self._encoder_norm = _Norm(encoder.layer_norm, place)
        self._decoder = [_DecoderLayer(layer, place) for layer in decoder.layers]
        self._decoder_norm = _Norm(decoder.layer_norm, place)
        # A card holds tables as it holds matrices; what is looked up in them is added to the stream in float32.
        on_card = self.device.type != "cpu"
        table = place.served if on_card else place.exact
        self._encoder_positions = table(encoder.embed_positions.weight)
        self._decoder_positions = table(decoder.embed_positions.weight)
        self._logits = Linear(model.proj_out.weight, None, place)
        tied = on_card and model.proj_out.weight is decoder.embed_tokens.weight
        self._embedding = self._logits.weight if tied else table(decoder.embed_tokens.weight)

    @property
    def longest(self) -> int:
        """Tokens that a row can hold, its prompt included."""
        return len(self._decoder_positions)

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """Log-mel (B, n_mels, 2·S) → (B, S, width)."""
        x = features.transpose(1, 2)
        for convolution, stride in zip(self._convolutions, (1, 2), strict=True):
            x = functional.pad(x, (0, 0, 1, 1)).unfold(1, 3, stride)  # (B, positions, channels, 3)
            x = convolution(x.flatten(2))
        x = x + self._encoder_positions[: x.shape[1]]
        for layer in self._encoder:
            x = layer(x)
        return self._encoder_norm(x)

    def remember(self, encoded: Sequence[torch.Tensor]) -> Memory:
        """The memory of rows (S, width), each with its own S."""
        lengths = torch.tensor([len(row) for row in encoded])
        longest = int(lengths.max())
        layers = [layer.memory(encoded, longest) for layer in self._decoder]
        if int(lengths.min()) == longest:
            return Memory(layers, None)
        ended = torch.arange(longest) >= lengths[:, None]
        return Memory(layers, _minus_infinity(ended, self._cache_dtype).to(self.device))

    def start(self, prompts: Sequence[Sequence[int]], length: int) -> tuple[torch.Tensor, Cache]:
        """Prompts as tokens (B, T), padded in front to one length, and an empty cache for `length` tokens a row."""
        longest = max(map(len, prompts))
        start = torch.tensor([[longest - len(prompt)] for prompt in prompts])
        tokens = torch.tensor([[prompt[0]] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        padding = torch.arange(longest + length) < start
        mask = _minus_infinity(padding, self._cache_dtype).to(self.device) if padding.any() else None
        heads = int(self.config.decoder_attention_heads)
        shape = (len(prompts), heads, longest + length, int(self.config.d_model) // heads)
        layers = [(self.empty(shape), self.empty(shape)) for _ in self._decoder]
        return tokens.to(self.device), Cache(layers, mask, start.to(self.device))

    def decode(
        self,
        tokens: torch.Tensor,
        cache: Cache,
        memory: Memory,
        attention: Mapping[int, list[torch.Tensor]] = MappingProxyType({}),
    ) -> torch.Tensor:
        """Run the decoder over the next tokens (B, T), which `cache` will then hold.

        Args:
            attention: by number of a layer, a list that gets the layer's cross-attention, float32 (B, H, T, S).

        Returns the normalised last states float32 (B, T, width); `logits` makes tokens of them.
        """
        new = slice(cache.length, cache.length + tokens.shape[1])
        columns = torch.arange(new.start, new.stop, device=self.device)
        positions = (columns - cache.start).clamp_min(0)
        x = self._embedding[tokens].float() + self._decoder_positions[positions]
        cache.length = new.stop
        mask = self._mask(columns, cache)
        for number, (layer, kept, heard) in enumerate(zip(self._decoder, cache.layers, memory.layers, strict=True)):
            x = layer(x, new, kept, mask, heard, memory.mask, attention.get(number))
        return self._decoder_norm(x)

    def step(self, tokens: torch.Tensor, column: torch.Tensor, cache: Cache, memory: Memory) -> torch.Tensor:
        """Logits, float32 (B, V), after one token a row (B, 1), into a column that only the device knows, int64 (1,).

        Attention looks at the whole cache, which must have a mask: what lies behind the column is hidden here.
        """
        x = self._embedding[tokens].float() + self._decoder_positions[(column - cache.start).clamp_min(0)]
        behind = torch.arange(cache.layers[0][0].shape[2], device=self.device) > column
        mask = None if cache.mask is None else cache.mask.masked_fill(behind, float("-inf"))
        for layer, kept, heard in zip(self._decoder, cache.layers, memory.layers, strict=True):
            x = layer(x, column, kept, mask, heard, memory.mask, None)
        return self.logits(self._decoder_norm(x)[:, -1])

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Last states (..., width) → float32 (..., V)."""
        return self._logits(states).float()

    def _mask(self, columns: torch.Tensor, cache: Cache) -> torch.Tensor | None:
        """What tokens may not attend to: the padding, and the tokens after themselves."""
        mask = None if cache.mask is None else cache.mask[..., : cache.length]
        if len(columns) > 1:
            later = torch.arange(cache.length, device=self.device) > columns[:, None]
            causal = _minus_infinity(later, self._cache_dtype)[:, 0]  # (T, 1, columns) → (1, T, columns)
            causal = causal.transpose(0, 1)[None]
            mask = causal if mask is None else mask + causal
            # A row's padding attends to itself: a softmax over nothing would be NaN.
            own = torch.arange(cache.length, device=self.device) == columns[:, None]
            mask = mask.masked_fill(own, 0.0)
        return mask

    def empty(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Zeros as keys, values and masks are."""
        return torch.zeros(shape, dtype=self._cache_dtype, device=self.device)


class _Norm:
    def __init__(self, norm: nn.LayerNorm, place: Place) -> None:
        self._weight, self._bias, self._eps = place.exact(norm.weight), place.exact(norm.bias), norm.eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x.float(), self._weight.shape, self._weight, self._bias, self._eps)


class _Attention:
    """Queries, keys and values of one input from one matrix, and the projection of what attention finds."""

    def __init__(self, attention: Any, place: Place, parts: str) -> None:
        projections = [getattr(attention, f"{part}_proj") for part in parts]
        biases = [p.bias if p.bias is not None else torch.zeros_like(p.weight[:, 0]) for p in projections]
        self._heads = int(attention.num_heads)
        self._parts = len(parts)
        self._project = Linear(torch.cat([p.weight for p in projections]), torch.cat(biases), place)
        if "q" in parts:  # who asks nothing finds nothing
            self.out = Linear(attention.out_proj.weight, attention.out_proj.bias, place)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """x (B, T, width) → each part (B, H, T, D)."""
        y = self._project(x)
        y = y.reshape(*y.shape[:2], self._parts, self._heads, -1)  # (B, T, parts, H, D)
        return y.permute(2, 0, 3, 1, 4).contiguous().unbind(0)


class _EncoderLayer:
    def __init__(self, layer: Any, place: Place) -> None:
        self._attention = _Attention(layer.self_attn, place, "qkv")
        self._norm, self._final_norm = _Norm(layer.self_attn_layer_norm, place), _Norm(layer.final_layer_norm, place)
        self._widen = Linear(layer.fc1.weight, layer.fc1.bias, place, gelu=True)
        self._narrow = Linear(layer.fc2.weight, layer.fc2.bias, place)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        found = attend(*self._attention.project(self._norm(x)))
        x = x + self._attention.out(found.transpose(1, 2).flatten(2))
        return x + self._narrow(self._widen(self._final_norm(x)))


class _DecoderLayer:
    def __init__(self, layer: Any, place: Place) -> None:
        self._cache_dtype = place.cache_dtype
        self._itself = _Attention(layer.self_attn, place, "qkv")
        self._sound, self._memory = (
            _Attention(layer.encoder_attn, place, "q"),
            _Attention(layer.encoder_attn, place, "kv"),
        )
        self._norm, self._final_norm = _Norm(layer.self_attn_layer_norm, place), _Norm(layer.final_layer_norm, place)
        self._sound_norm = _Norm(layer.encoder_attn_layer_norm, place)
        self._widen = Linear(layer.fc1.weight, layer.fc1.bias, place, gelu=True)
        self._narrow = Linear(layer.fc2.weight, layer.fc2.bias, place)

    def memory(self, encoded: Sequence[torch.Tensor], length: int) -> Tensors:
        """Keys and values of rows (S, width), padded with zeros to one length."""
        pairs = []
        for row in encoded:
            keys, values = self._memory.project(row[None])
            padding = (0, 0, 0, length - len(row))
            pairs.append([functional.pad(part[0].to(self._cache_dtype), padding) for part in (keys, values)])
        return torch.stack([keys for keys, _ in pairs]), torch.stack([values for _, values in pairs])

    def __call__(
        self,
        x: torch.Tensor,
        new: slice | torch.Tensor,  # the tokens' columns in `kept`; one that only the device knows, (1,)
        kept: Tensors,
        mask: torch.Tensor | None,
        heard: Tensors,
        heard_mask: torch.Tensor | None,
        attention: list[torch.Tensor] | None,
    ) -> torch.Tensor:
        queries, keys, values = (part.to(self._cache_dtype) for part in self._itself.project(self._norm(x)))
        found = functional.scaled_dot_product_attention(queries, *_keep(kept, new, keys, values), attn_mask=mask)
        x = x + self._itself.out(found.transpose(1, 2).flatten(2))
        (queries,) = (part.to(self._cache_dtype) for part in self._sound.project(self._sound_norm(x)))
        if attention is not None:
            attention.append(_weights(queries, heard[0], heard_mask))
        found = functional.scaled_dot_product_attention(queries, *heard, attn_mask=heard_mask)
        x = x + self._sound.out(found.transpose(1, 2).flatten(2))
        return x + self._narrow(self._widen(self._final_norm(x)))


def _keep(kept: Tensors, new: slice | torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Tensors:
    """Store (B, H, T, D) in the new columns; returned is what there is to look at."""
    if isinstance(new, slice):
        kept[0][:, :, new], kept[1][:, :, new] = keys, values
        return kept[0][:, :, : new.stop], kept[1][:, :, : new.stop]
    kept[0].index_copy_(2, new, keys)
    kept[1].index_copy_(2, new, values)
    return kept


def attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attention of everything to everything, (B, H, S, D) each.

    On a processor in bfloat16, block by block, whose scores stay in its cache: twice as fast as torch's own.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(queries, keys, values)
    transposed = keys.transpose(-1, -2) * keys.shape[-1] ** -0.5
    blocks = [(block @ transposed).softmax(-1) @ values for block in torch.split(queries, QUERY_BLOCK, dim=2)]
    return torch.cat(blocks, dim=2)


def _weights(queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    scores = queries.float() @ keys.float().transpose(-1, -2) * queries.shape[-1] ** -0.5
    weights: torch.Tensor = (scores if mask is None else scores + mask).softmax(-1)
    return weights


def _minus_infinity(where: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """(rows, columns) → (rows, 1, 1, columns) with −inf where true, else 0."""
    return torch.zeros(where.shape, dtype=dtype, device=where.device).masked_fill(where, float("-inf"))[:, None, None]
