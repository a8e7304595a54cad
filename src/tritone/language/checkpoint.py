"""What the folder of a LLaVA checkpoint says besides the weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, LlavaConfig, LlavaProcessor

from tritone.errors import NotServed


@dataclass(frozen=True)
class Checkpoint:
    """What a folder says besides the weights."""

    folder: Path
    config: LlavaConfig
    processor: LlavaProcessor
    eos: frozenset[int]  # tokens that end an answer

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint":
        """Raises: NotServed: a checkpoint of another kind, or one without an end-of-text token."""
        _check_kind(folder)
        config = LlavaConfig.from_pretrained(folder, local_files_only=True)
        processor = LlavaProcessor.from_pretrained(folder, local_files_only=True)
        return cls(folder, config, processor, _end_of_text(folder, config, processor))

    @property
    def vocabulary_size(self) -> int:
        """Of the network's logits."""
        text: Any = self.config.text_config
        return int(text.vocab_size)

    @property
    def controls(self) -> list[str]:
        """What a caller must not write: a tokenizer reads it as what it stands for, a picture or the end of a turn."""
        tokenizer = self.processor.tokenizer
        added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        return list(dict.fromkeys([*tokenizer.all_special_tokens, self.processor.image_token, *added]))


def _check_kind(directory: Path) -> None:
    """Refuse LLaVA's relatives: their weights load without an error, and their pictures have other tokens."""
    kind = LlavaConfig.get_config_dict(directory, local_files_only=True)[0].get("model_type")
    if kind != LlavaConfig.model_type:
        raise NotServed(f"the checkpoint's model_type is '{kind}', must be '{LlavaConfig.model_type}'")


def _end_of_text(folder: Path, config: LlavaConfig, processor: LlavaProcessor) -> frozenset[int]:
    """The tokens that end an answer: those of generation_config.json and the tokenizer's own."""
    try:
        named = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    except OSError:  # the folder has none
        named = GenerationConfig.from_model_config(config).eos_token_id
    tokens = {*(named if isinstance(named, list) else [named]), processor.tokenizer.eos_token_id} - {None}
    if not tokens:
        raise NotServed(
            "the checkpoint names no token that ends an answer: "
            "neither generation_config.json nor its tokenizer has an eos_token"
        )
    return frozenset(map(int, tokens))
