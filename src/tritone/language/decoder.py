"""The language model of a LLaVA checkpoint, run over the slots of a cache: transformers' layers, our loop.

`generate` rebuilds mask, rotary angles and cache bookkeeping for every token; here they are one table and one
comparison, which is most of what a small model's token costs. The layers themselves are the checkpoint's, so
quantised weights and adapters work as they are.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlavaForConditionalGeneration

from tritone.cuda_graphs import Capture
from tritone.errors import NotServed
from tritone.language.adapters import BASE, Adapters
from tritone.language.budget import Budget, memory, slots_that_fit
from tritone.language.graphs import Graphs, obstacle
from tritone.language.kv_cache import Rows, SlotCache
from tritone.torch_threads import Threads
from tritone.transfers import put


class Decoder:
    """Pictures and words in, logits out.

    Args:
        slots: of the cache; 0 is as many as fit into the GPU's memory.
        length: tokens of each; 0 is the model's whole context.
        memory_reserve: where slots is 0, the share of the GPU that stays free of weights and cache.
        capture: makes graphs of decoding steps; None is for none.

    Raises: NotServed: an architecture whose attention depends on more than position and causality; no slot fits.
    """

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        adapters: Adapters,
        slots: int,
        length: int = 0,
        memory_reserve: float = 0.0,
        capture: Capture | None = None,
    ) -> None:
        self.model, self.adapters = model, adapters
        self._text: Any = model.model.language_model
        config = self._text.config
        length = length_within(config, length)
        _check(config, self._text, length)
        devices = [next(layer.parameters()).device for layer in self._text.layers]
        self.budgets = [] if slots else _budgets(model, devices, length, memory_reserve)
        self.cache = SlotCache(config, slots or slots_that_fit(self.budgets), length, model.dtype, devices)
        self.device: torch.device = self._text.embed_tokens.weight.device
        self.vocabulary = int(config.vocab_size)
        probe = torch.zeros((), dtype=model.dtype, device=devices[0])
        angles = self._text.rotary_emb(probe, position_ids=torch.arange(length, device=devices[0])[None])
        self._cos, self._sin = (table[0] for table in angles)
        self._threads = Threads(self._text.layers)
        self._knows_causality = config._attn_implementation != "eager"
        self._capture = capture
        self.graphs = Graphs(self._step, self.cache.slots, length, self.vocabulary, self.cache.spare, self.device)
        self.graphs.without = obstacle(model, devices)

    def prepare(self) -> None:
        """Capture the graphs, as far as there can be any; before anybody is answered, in the thread that decodes."""
        if not (len(self.graphs) or self.graphs.without):
            self.graphs.capture(self._capture)
            if self._capture:  # they were tried in all slots
                self.cache.write(0, [self.cache.spare] * self.cache.slots, 1)

    def describe(self) -> str:
        """What is in memory, for the log."""
        weights: int = self.model.get_memory_footprint()  # type: ignore[no-untyped-call]
        why = f", as many as fit: {'; '.join(map(str, self.budgets))}" if self.budgets else ""
        return (
            f"weights {weights / 2**20:,.0f} MiB, cache {self.cache.nbytes / 2**20:,.0f} MiB "
            f"({self.cache.slots} slots of {self.cache.length} tokens{why}), {self.graphs.describe()}"
        )

    def embed(self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None, adapter: str) -> torch.Tensor:
        """A prompt as the language model gets it, (length, hidden), the pictures at their places.

        Args:
            input_ids: (length,).
            pixel_values: all pictures of the prompt, (pictures, 3, height, width), encoded in one batch.
        """
        input_ids = input_ids.to(self.device, non_blocking=True)
        with self.adapters.rows([adapter]):
            embeds: torch.Tensor = self._text.embed_tokens(input_ids[None])[0]
        if pixel_values is None:
            return embeds
        with self.adapters.rows([adapter] * len(pixel_values)):
            pixels = pixel_values.to(self.model.device, self.model.dtype, non_blocking=True)
            pictures = self.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        places = (input_ids == self.model.config.image_token_id)[:, None]
        return embeds.masked_scatter(places, torch.cat(pictures).to(embeds.device, embeds.dtype))

    def prefill(
        self, first: int, starts: Sequence[int], embeds: Sequence[torch.Tensor], names: list[str]
    ) -> torch.Tensor:
        """Read the next stretch of several prompts, each (stretch, hidden), into the slots from `first` on.

        Returns the hidden state of each stretch's last token, (rows, hidden).

        Short stretches are filled up on the right: what is written there is overwritten before anyone sees it.
        """
        batch = torch.nn.utils.rnn.pad_sequence(list(embeds), batch_first=True)
        self.cache.write(first, starts, batch.shape[1])
        hidden = self._forward(batch, self.cache.rows(first, starts, batch.shape[1]), names)
        ends = put([len(each) - 1 for each in embeds], hidden.device)
        return hidden[torch.arange(len(ends), device=hidden.device), ends]

    def decode(self, tokens: Sequence[int], starts: Sequence[int], names: list[str]) -> torch.Tensor:
        """One more token for the rows from slot 0 on; logits as in `logits`, good until the next call."""
        self.cache.write(0, starts, 1)
        # An adapter's rows are Python lists that PEFT copies to the card, in each layer.
        logits = None if any(names) else self.graphs.run(tokens, starts)
        if logits is None:
            logits = self._decode(put(tokens, self.device)[:, None], self.cache.rows(0, starts, 1), names)
        return logits

    def logits(self, hidden: torch.Tensor, names: list[str]) -> torch.Tensor:
        """float32 (rows, vocabulary) of last hidden states (rows, hidden)."""
        with self.adapters.rows(names):
            logits: torch.Tensor = self.model.lm_head(hidden[:, None])[:, 0].float()
        return logits

    def _decode(self, tokens: torch.Tensor, rows: Rows, names: list[str]) -> torch.Tensor:
        """Logits of one token a row, (rows, 1)."""
        with self.adapters.rows(names):
            embeds = self._text.embed_tokens(tokens)
        return self.logits(self._forward(embeds, rows, names)[:, 0], names)

    def _step(self, tokens: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
        """What a graph holds: see `graphs.Step`."""
        return self._decode(tokens, self.cache.bucket(starts, length), [BASE] * len(tokens))

    def _forward(self, hidden: torch.Tensor, rows: Rows, names: list[str]) -> torch.Tensor:
        """(rows, width, hidden) through all layers."""
        self._threads.take(hidden.shape[0] * hidden.shape[1])
        positions = rows.positions
        angles = self._cos[positions], self._sin[positions]
        mask = rows.mask(hidden.dtype, self._knows_causality)
        with self.adapters.rows(names):
            for layer in self._text.layers:
                hidden = layer(
                    hidden,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=rows,
                    use_cache=True,
                    position_embeddings=angles,
                )
            return self._text.norm(hidden)  # type: ignore[no-any-return]


def length_within(config: Any, length: int) -> int:
    """Tokens of prompt and answer together: `length`, or the whole context of a language model's config where it is 0.

    Raises: NotServed: it is over the context.
    """
    context = int(config.max_position_embeddings)
    if length > context:
        raise NotServed(f"max_length is {length}, the checkpoint's context is {context} tokens")
    return length or context


def _budgets(
    model: LlavaForConditionalGeneration, devices: Sequence[torch.device], length: int, reserve: float
) -> list[Budget]:
    """Of every device that holds layers of the language model, whose own devices are given one by one."""
    slot = SlotCache.slot_nbytes(model.config.text_config, length, model.dtype)
    weights: Counter[torch.device] = Counter()
    for tensor in (*model.parameters(), *model.buffers()):
        weights[tensor.device] += tensor.nbytes
    budgets = []
    for device, layers in Counter(devices).items():
        free, total = memory(device)
        budgets.append(Budget(str(device), total, free, weights[device], reserve, layers * slot, length))
    return budgets


def _check(config: Any, text: Any, length: int) -> None:
    """Refuse what the shared tables and masks cannot express."""
    if config._attn_implementation not in ("sdpa", "eager"):
        raise NotServed(f"attn_implementation is '{config._attn_implementation}', must be sdpa or eager")
    kind = text.rotary_emb.rope_type
    if kind in ("dynamic", "longrope"):
        raise NotServed(f"rotary positions of type '{kind}' change with the length of each answer")
    window = config.sliding_window if "sliding_attention" in (getattr(config, "layer_types", None) or ()) else None
    if window is not None and window < length:
        raise NotServed(f"the checkpoint's attention window of {window} tokens is under max_length {length}")
